//===- Hash.h - SHA-256 and CRC-32 -----------------------------------------===//

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace otodus::formats {

/// SHA-256 (FIPS 180-4), fed in pieces.
class Sha256 {
public:
  Sha256();
  void update(const void *data, size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// 32 bytes; the object must not be used after.
  std::array<uint8_t, 32> digest();
  /// The digest as 64 lower-case hex digits.
  std::string hex();

private:
  void block(const uint8_t *data);
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> pending_;
  uint64_t bytes_ = 0;
};

/// SHA-256 of `text` as 64 hex digits.
std::string sha256Hex(std::string_view text);

/// CRC-32 (the one of zlib and PNG) of `data` appended to bytes whose CRC is `previous`.
uint32_t crc32(const void *data, uint64_t bytes, uint32_t previous = 0);

} // namespace otodus::formats
