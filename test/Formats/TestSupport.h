//===- TestSupport.h - What the tests of Formats share ---------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace otodus::test {

/// A folder of its own for one test, removed at its end.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "otodus-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string operator/(const std::string &name) const { return (path_ / name).string(); }
  /// Number of files and folders in it.
  size_t entries() const {
    return size_t(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

private:
  std::filesystem::path path_;
};

inline void writeText(const std::string &path, const std::string &text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string readText(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// `status` is an error of `code` whose message holds every part and is one line.
inline void expectError(const Status &status, otodus::Code code,
                        const std::vector<std::string> &parts) {
  EXPECT_EQ(int(status.code()), int(code)) << status.message();
  for (const std::string &part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "expected '" << part << "' in: " << status.message();
  EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
}

/// Runs `body` in a process of its own where `folder` is a file system of `bytes` bytes,
/// read-only on request, and returns "code message" of its Status; "" if the machine does
/// not allow such mounts.
inline std::string onSmallDisk(const std::string &folder, const std::string &options,
                               const std::function<Status()> &body) {
  int channel[2];
  if (pipe(channel) != 0)
    return "";
  pid_t child = fork();
  if (child == 0) {
    bool alone = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0;
    if (!alone || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", folder.c_str(), "tmpfs", options == "ro" ? MS_RDONLY : 0,
              options == "ro" ? "" : options.c_str()) != 0)
      _exit(0);
    Status status = body();
    size_t left = size_t(std::distance(std::filesystem::directory_iterator(folder), {}));
    std::string text = std::to_string(int(status.code())) + " " + status.message() + " [" +
                       std::to_string(left) + " files left]";
    [[maybe_unused]] ssize_t written = write(channel[1], text.data(), text.size());
    _exit(0);
  }
  close(channel[1]);
  std::string text;
  char piece[512];
  for (ssize_t got; (got = read(channel[0], piece, sizeof(piece))) > 0;)
    text.append(piece, size_t(got));
  close(channel[0]);
  waitpid(child, nullptr, 0);
  return text;
}

} // namespace otodus::test
