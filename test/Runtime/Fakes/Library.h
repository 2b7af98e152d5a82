//===- Library.h - A copy of a fake library, for one test ------------------===//

#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <dlfcn.h>
#include <unistd.h>

namespace otodus::test {

/// A copy of a shared library under a name of its own: loading it gives fresh variables.
class LibraryCopy {
public:
  explicit LibraryCopy(const std::string &original) {
    std::string name = (std::filesystem::temp_directory_path() / "otodus-fake-XXXXXX").string();
    int file = mkstemp(name.data());
    close(file);
    std::filesystem::copy_file(original, name, std::filesystem::copy_options::overwrite_existing);
    path = name;
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(handle_, nullptr) << dlerror();
  }
  ~LibraryCopy() { std::filesystem::remove(path); }
  LibraryCopy(const LibraryCopy &) = delete;

  /// A function of this copy.
  template <typename Function> Function *find(const char *name, Function *) const {
    return reinterpret_cast<Function *>(dlsym(handle_, name));
  }

  std::string path;

private:
  void *handle_ = nullptr;
};
/// `fake(library, fakeCudaSet)("gpus", 0)` calls the copy's function.
#define OTODUS_FAKE(LIBRARY, FUNCTION)                                                             \
  (LIBRARY).find(#FUNCTION, static_cast<decltype(&FUNCTION)>(nullptr))

} // namespace otodus::test
