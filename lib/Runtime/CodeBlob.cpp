//===- CodeBlob.cpp - Machine code in memory of its own --------------------===//

#include "CodeBlob.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace otodus::runtime {

Result<CodeBlob> CodeBlob::map(const formats::Code &code) {
  // Text may be counted in whole pages, beyond the end of the blob.
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t size = (code.blob.size() + page - 1) / page * page;
  if (code.blob.empty() || code.textBytes > size)
    return Status(Code::File, "the code for " + code.target + " has " +
                                  std::to_string(code.textBytes) + " bytes of text in a blob of " +
                                  std::to_string(code.blob.size()) + "; compile again");
  for (const formats::Code::Entry &entry : code.entries)
    if (entry.offset >= std::min<uint64_t>(code.textBytes, code.blob.size()))
      return Status(Code::File,
                    "kernel '" + entry.name + "' starts at byte " + std::to_string(entry.offset) +
                        " of " + std::to_string(code.textBytes) + " bytes of text; compile again");

  size_t text = std::min(size, (static_cast<size_t>(code.textBytes) + page - 1) / page * page);
  void *base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return Status(Code::Device, "cannot get " + std::to_string(size) +
                                    " bytes for the code: " + std::strerror(errno));
  CodeBlob blob;
  blob.base_ = static_cast<std::byte *>(base);
  blob.size_ = size;
  std::memcpy(base, code.blob.data(), code.blob.size());
  // Never writable and executable at the same time: hardened systems refuse that.
  if (mprotect(base, size, PROT_READ) != 0 || mprotect(base, text, PROT_READ | PROT_EXEC) != 0)
    return Status(Code::Device,
                  std::string("the system does not let this process run generated code: ") +
                      std::strerror(errno));
  __builtin___clear_cache(static_cast<char *>(base), static_cast<char *>(base) + text);
  return blob;
}

CodeBlob::~CodeBlob() {
  if (base_)
    munmap(base_, size_);
}

CodeBlob &CodeBlob::operator=(CodeBlob &&other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

} // namespace otodus::runtime
