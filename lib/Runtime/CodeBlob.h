//===- CodeBlob.h - Machine code in memory of its own ----------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <cstddef>

namespace otodus::runtime {

/// A copy of a code's blob (CodeKind::Host or Sim) that can be executed: its text is executable,
/// the rest readable, nothing writable.
class CodeBlob {
public:
  CodeBlob() = default;
  /// Code::File if entries do not lie in the text, Code::Device if the system refuses the memory.
  static Result<CodeBlob> map(const formats::Code &code);
  ~CodeBlob();
  CodeBlob(CodeBlob &&other) noexcept { *this = static_cast<CodeBlob &&>(other); }
  CodeBlob &operator=(CodeBlob &&other) noexcept;

  /// Where the blob's first byte lies.
  std::byte *data() const { return base_; }
  size_t size() const { return size_; }

private:
  std::byte *base_ = nullptr;
  size_t size_ = 0;
};

} // namespace otodus::runtime
