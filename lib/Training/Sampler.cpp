//===- Sampler.cpp - Which tokens a step learns from -----------------------===//

#include "otodus/Training/Sampler.h"
#include "otodus/Formats/Random.h"

#include <algorithm>
#include <bit>

namespace otodus::training {

namespace {
/// Streams of the seed. Sampling text uses stream 0, initialisers those below 2^32.
constexpr uint64_t kOrderStream = uint64_t(1) << 40, kPassStream = uint64_t(1) << 41;
} // namespace

int64_t permute(int64_t index, int64_t size, uint64_t seed, uint64_t key) {
  // Halves of equal size: a power of four that covers [0, size).
  int half = (std::bit_width(static_cast<uint64_t>(size - 1)) + 1) / 2;
  if (half == 0)
    return 0;
  uint64_t mask = (uint64_t(1) << half) - 1, value = static_cast<uint64_t>(index);
  std::array<uint32_t, 2> philoxKey = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint32_t round = 0; round < 4; ++round) {
      std::array<uint32_t, 4> word = formats::philox(
          {static_cast<uint32_t>(right), static_cast<uint32_t>(right >> 32) ^ (round << 30),
           static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)},
          philoxKey);
      uint64_t mixed = left ^ ((word[0] | uint64_t(word[1]) << 32) & mask);
      left = right;
      right = mixed;
    }
    value = left << half | right;
  } while (value >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(value);
}

Result<Sampler> Sampler::create(TokenData data, DataOrder order, int64_t length, uint64_t seed) {
  if (data.size() < length + 1)
    return Status(Code::Input, "a sequence of " + std::to_string(length) +
                                   " tokens and the one after it are longer than the training "
                                   "data, which has " +
                                   std::to_string(data.size()) +
                                   " tokens; set a smaller train.length or give more data");
  Sampler sampler;
  sampler.order_ = order;
  sampler.length_ = length;
  sampler.windows_ = (data.size() - 1) / length;
  sampler.seed_ = seed;
  sampler.data_ = std::move(data);
  return sampler;
}

int64_t Sampler::begin(int64_t number) const {
  if (order_ == DataOrder::Random) {
    double u = formats::uniform(seed_, kOrderStream, static_cast<uint64_t>(number));
    int64_t places = data_.size() - length_;
    return std::min(static_cast<int64_t>(u * static_cast<double>(places)), places - 1);
  }
  int64_t inPass = number % windows_;
  if (order_ == DataOrder::Shuffled)
    inPass = permute(inPass, windows_, seed_,
                     kPassStream + static_cast<uint64_t>(number / windows_));
  return inPass * length_;
}

void fillRow(const TokenData &data, int64_t begin, int64_t row, runtime::TokenBatch &batch) {
  int64_t length = batch.length, at = row * length;
  int64_t known = std::min(length + 1, data.size() - begin);
  std::vector<int32_t> tokens(static_cast<size_t>(length + 1), 0);
  data.read(begin, known, tokens.data());
  for (int64_t i = 0; i < length; ++i) {
    batch.tokens[static_cast<size_t>(at + i)] = tokens[static_cast<size_t>(i)];
    batch.targets[static_cast<size_t>(at + i)] =
        i + 1 < known ? tokens[static_cast<size_t>(i + 1)] : -100;
    batch.starts[static_cast<size_t>(at + i)] = i == 0;
  }
  for (int64_t start = data.nextDocument(begin + 1); start <= begin + length && start < data.size();
       start = data.nextDocument(start + 1)) {
    if (start < begin + length)
      batch.starts[static_cast<size_t>(at + start - begin)] = 1;
    // What comes after the last token of a document says nothing about it.
    batch.targets[static_cast<size_t>(at + start - begin - 1)] = -100;
  }
}

runtime::TokenBatch Sampler::batch(int64_t first, int64_t count) const {
  runtime::TokenBatch batch;
  batch.batch = count;
  batch.length = length_;
  size_t size = static_cast<size_t>(count * length_);
  batch.tokens.resize(size);
  batch.targets.resize(size);
  batch.starts.resize(size);
  for (int64_t row = 0; row < count; ++row)
    fillRow(data_, begin(first + row), row, batch);
  return batch;
}

} // namespace otodus::training
