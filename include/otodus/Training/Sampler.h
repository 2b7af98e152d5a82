//===- Sampler.h - Which tokens a step learns from -------------------------===//

#pragma once

#include "otodus/Runtime/TrainingBackend.h"
#include "otodus/Training/TokenData.h"
#include "otodus/Training/TrainConfig.h"

#include <cstdint>

namespace otodus::training {

/// Cuts a stream of tokens into windows of `length` tokens with the token after each as its
/// target. Documents in a window are told apart by `starts`; the last token of a document has
/// no target. Every sample is a function of the seed and its number.
class Sampler {
public:
  /// Code::Input if no window fits into the data.
  static Result<Sampler> create(TokenData data, DataOrder order, int64_t length, uint64_t seed);

  /// Samples [first, first + batch).
  runtime::TokenBatch batch(int64_t first, int64_t batch) const;

  /// Where in the data sample `number` begins.
  int64_t begin(int64_t number) const;
  /// Windows side by side; a pass over the data, except in random order.
  int64_t windows() const { return windows_; }
  const TokenData &data() const { return data_; }

private:
  TokenData data_;
  DataOrder order_ = DataOrder::Random;
  int64_t length_ = 0, windows_ = 0;
  uint64_t seed_ = 0;
};

/// Writes the window [begin, begin + length) of `data` as row `row` of `batch`.
void fillRow(const TokenData &data, int64_t begin, int64_t row, runtime::TokenBatch &batch);

/// Position `index` of a permutation of [0, size) given by `key`: a Feistel network on Philox,
/// walked until it is inside. Nothing is stored.
int64_t permute(int64_t index, int64_t size, uint64_t seed, uint64_t key);

} // namespace otodus::training
