//===- MappedFile.cpp - A file as read-only memory -------------------------===//

#include "otodus/Formats/MappedFile.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

using namespace otodus;
using namespace otodus::formats;

Result<MappedFile> MappedFile::open(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return Status(Code::File, "cannot open '" + path + "': " + std::strerror(errno));
  struct stat info;
  Status status;
  MappedFile file;
  if (fstat(fd, &info) != 0) {
    status = Status(Code::File, "cannot read '" + path + "': " + std::strerror(errno));
  } else if (S_ISDIR(info.st_mode)) {
    status = Status(Code::File, "expected a file, but '" + path + "' is a directory");
  } else if (!S_ISREG(info.st_mode)) {
    status = Status(Code::File, "expected a regular file, but '" + path +
                                    "' is a device or pipe and cannot be mapped");
  } else if (info.st_size > 0) {
    void *data = mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      status = Status(errno == ENOMEM ? Code::Device : Code::File,
                      "cannot map '" + path + "': " + std::strerror(errno));
    } else {
      file.data_ = static_cast<uint8_t *>(data);
      file.size_ = static_cast<uint64_t>(info.st_size);
    }
  }
  close(fd);
  if (!status.isOk())
    return status;
  return file;
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_)
    munmap(data_, size_);
}

void MappedFile::dropPages(const uint8_t *begin, uint64_t bytes) const {
  if (!data_ || begin < data_ || begin > data_ + size_)
    return;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t from = static_cast<uint64_t>(begin - data_);
  uint64_t to = from + std::min(bytes, size_ - from);
  from = (from + page - 1) / page * page;
  // The last page of the mapping may be partial and still be dropped whole.
  to = to == size_ ? to : to / page * page;
  if (from < to)
    madvise(data_ + from, to - from, MADV_DONTNEED);
}
