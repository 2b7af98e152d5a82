//===- OutputFile.cpp - Files that appear whole or not at all --------------===//

#include "otodus/Formats/OutputFile.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

using namespace otodus;
using namespace otodus::formats;

namespace {
constexpr size_t kBufferBytes = size_t(1) << 18;

Status failure(const std::string &path, int error) {
  bool full = error == ENOSPC || error == EDQUOT;
  std::string message = "cannot write '" + path + "': " + std::strerror(error);
  if (full)
    message += "; free some space or choose another folder";
  return Status(full ? Code::Device : Code::File, message);
}

Status writeAll(int fd, const uint8_t *data, size_t bytes, const std::string &path) {
  while (bytes > 0) {
    ssize_t done = ::write(fd, data, bytes);
    if (done < 0) {
      if (errno == EINTR)
        continue;
      return failure(path, errno);
    }
    data += done;
    bytes -= static_cast<size_t>(done);
  }
  return Status::ok();
}
} // namespace

struct OutputFile::Impl {
  std::string path, temporary;
  int fd = -1;
  uint64_t offset = 0; ///< including what is still in `buffer`
  std::vector<uint8_t> buffer;
  Status failed;

  ~Impl() {
    if (fd >= 0)
      close(fd);
    if (!temporary.empty())
      unlink(temporary.c_str());
  }

  Status flush() {
    OTODUS_RETURN_IF_ERROR(failed);
    failed = writeAll(fd, buffer.data(), buffer.size(), path);
    buffer.clear();
    return failed;
  }
};

OutputFile::OutputFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OutputFile::OutputFile(OutputFile &&) noexcept = default;
OutputFile &OutputFile::operator=(OutputFile &&) noexcept = default;
OutputFile::~OutputFile() = default;

Result<OutputFile> OutputFile::create(const std::string &path) {
  if (path.empty())
    return Status(Code::File, "cannot write a file without a name");
  struct stat info;
  mode_t mode = 0;
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      return Status(Code::File, "cannot write '" + path + "': it is a directory; name a file");
    if (!S_ISREG(info.st_mode))
      return Status(Code::File, "cannot write '" + path + "': it is not a regular file");
    // Renaming over a file needs no permission on the file itself, so a read-only file
    // would be replaced silently.
    if (access(path.c_str(), W_OK) != 0)
      return failure(path, errno);
    mode = info.st_mode & 07777;
  }
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  std::string name = path + ".tmp-XXXXXX";
  int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0)
    return failure(path, errno);
  impl->fd = fd;
  impl->temporary = name;
  if (mode == 0) {
    mode_t mask = umask(0);
    umask(mask);
    mode = 0666 & ~mask;
  }
  fchmod(fd, mode);
  impl->buffer.reserve(kBufferBytes);
  return OutputFile(std::move(impl));
}

Status OutputFile::write(const void *data, size_t bytes) {
  Impl &impl = *impl_;
  OTODUS_RETURN_IF_ERROR(impl.failed);
  auto *from = static_cast<const uint8_t *>(data);
  impl.offset += bytes;
  if (impl.buffer.size() + bytes > kBufferBytes) {
    OTODUS_RETURN_IF_ERROR(impl.flush());
    if (bytes >= kBufferBytes)
      return impl.failed = writeAll(impl.fd, from, bytes, impl.path);
  }
  impl.buffer.insert(impl.buffer.end(), from, from + bytes);
  return Status::ok();
}

Status OutputFile::pad(uint64_t alignment) {
  static const uint8_t zeros[64] = {};
  uint64_t missing = (alignment - impl_->offset % alignment) % alignment;
  while (missing > 0) {
    uint64_t step = std::min<uint64_t>(missing, sizeof(zeros));
    OTODUS_RETURN_IF_ERROR(write(zeros, step));
    missing -= step;
  }
  return Status::ok();
}

Status OutputFile::writeAt(uint64_t offset, const void *data, size_t bytes) {
  Impl &impl = *impl_;
  OTODUS_RETURN_IF_ERROR(impl.flush());
  auto *from = static_cast<const uint8_t *>(data);
  while (bytes > 0) {
    ssize_t done = pwrite(impl.fd, from, bytes, static_cast<off_t>(offset));
    if (done < 0) {
      if (errno == EINTR)
        continue;
      return impl.failed = failure(impl.path, errno);
    }
    from += done;
    offset += static_cast<uint64_t>(done);
    bytes -= static_cast<size_t>(done);
  }
  return Status::ok();
}

uint64_t OutputFile::offset() const { return impl_->offset; }

Status OutputFile::finish() {
  Impl &impl = *impl_;
  OTODUS_RETURN_IF_ERROR(impl.flush());
  int fd = std::exchange(impl.fd, -1);
  // Some file systems report a full disk only here.
  if (close(fd) != 0)
    return impl.failed = failure(impl.path, errno);
  if (rename(impl.temporary.c_str(), impl.path.c_str()) != 0)
    return impl.failed = failure(impl.path, errno);
  impl.temporary.clear();
  return Status::ok();
}

Status formats::writeFile(const std::string &path, const void *data, size_t bytes) {
  Result<OutputFile> file = OutputFile::create(path);
  OTODUS_RETURN_IF_ERROR(file.status());
  OTODUS_RETURN_IF_ERROR(file->write(data, bytes));
  return file->finish();
}

Result<std::string> formats::readFile(const std::string &path, uint64_t limit) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return Status(Code::File, "cannot open '" + path + "': " + std::strerror(errno));
  std::string text;
  Status status;
  char piece[1 << 16];
  while (true) {
    ssize_t got = ::read(fd, piece, sizeof(piece));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      status = errno == EISDIR
                   ? Status(Code::File, "expected a file, but '" + path + "' is a directory")
                   : Status(Code::File, "cannot read '" + path + "': " + std::strerror(errno));
      break;
    }
    if (got == 0)
      break;
    text.append(piece, static_cast<size_t>(got));
    if (text.size() > limit) {
      status = Status(Code::File, "'" + path + "' is larger than " + std::to_string(limit) +
                                      " bytes, the most that is read of such a file");
      break;
    }
  }
  close(fd);
  if (!status.isOk())
    return status;
  return text;
}
