//===- SharedLibrary.cpp - Libraries that are loaded when they are needed --===//

#include "SharedLibrary.h"

#include <climits>

#include <dlfcn.h>
#include <unistd.h>

namespace otodus::runtime {

Result<SharedLibrary> SharedLibrary::open(const std::vector<std::string> &files) {
  SharedLibrary library;
  std::string reason = "no file to load";
  for (const std::string &file : files) {
    // A missing file beside the program is no news; a broken one is.
    if (file.find('/') != std::string::npos && access(file.c_str(), R_OK) != 0) {
      if (files.size() == 1)
        reason = "no such file";
      continue;
    }
    library.handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library.handle_) {
      library.path_ = file;
      return library;
    }
    if (const char *error = dlerror())
      reason = error;
  }
  return Status(Code::Target, reason);
}

void *SharedLibrary::find(const char *name) const { return dlsym(handle_, name); }

std::string programFolder() {
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  std::string file(path, length > 0 ? static_cast<size_t>(length) : 0);
  return file.substr(0, file.find_last_of('/'));
}

} // namespace otodus::runtime
