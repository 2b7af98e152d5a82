//===- SharedLibrary.h - Libraries that are loaded when they are needed ----===//

#pragma once

#include "otodus/Formats/Status.h"

#include <string>
#include <vector>

namespace otodus::runtime {

/// An open shared library. Never closed: what it made may outlive any owner.
class SharedLibrary {
public:
  /// The first of `files` that can be loaded; names without a slash are searched for as the system
  /// does. Code::Target with the last reason.
  static Result<SharedLibrary> open(const std::vector<std::string> &files);

  /// A function's address, or null.
  void *find(const char *name) const;
  /// Sets `function` to the function `name`; false if there is none.
  template <typename Function> bool find(const char *name, Function &function) const {
    function = reinterpret_cast<Function>(find(name));
    return function != nullptr;
  }
  /// The file it was found in.
  const std::string &path() const { return path_; }

private:
  void *handle_ = nullptr;
  std::string path_;
};

/// The folder of the running program, "" if unknown.
std::string programFolder();

} // namespace otodus::runtime
