//===- AttentionTest.cpp - Steps of attention by clusters, in the simulator ===//
//
// One row against a long open chunk: the blocks of a cluster share its keys out and add up what each
// of them has through distributed shared memory. Against a softmax over all keys in double.
//
//===----------------------------------------------------------------------===//

#include "CompiledRunner.h"

#include "otodus/Formats/Random.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace otodus;
using namespace otodus::driver;
using reference::Tensor;

namespace {

constexpr int64_t kFeatures = 32, kWidth = 256;

/// Multiples of 1/64 in [-size, size): exact in bf16 up to 4.
Tensor random(std::vector<int64_t> shape, uint64_t stream, double size) {
  Tensor tensor(std::move(shape));
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor[i] = std::floor((2 * formats::uniform(13, stream, uint64_t(i)) - 1) * size * 64) / 64;
  return tensor;
}

/// Steps of one head, all in one chunk: q, k [1, L, 1, features], v [1, L, 1, width].
Tensor attend(const Tensor &q, const Tensor &k, const Tensor &v) {
  Tensor out(v.shape);
  for (int64_t t = 0; t < q.dim(1); ++t) {
    std::vector<double> p(size_t(t + 1));
    double top = -INFINITY, sum = 0;
    for (int64_t s = 0; s <= t; ++s) {
      for (int64_t i = 0; i < kFeatures; ++i)
        p[s] += q[t * kFeatures + i] * k[s * kFeatures + i];
      top = std::max(top, p[s]);
    }
    for (double &value : p)
      sum += value = std::exp(value - top);
    for (int64_t s = 0; s <= t; ++s)
      for (int64_t i = 0; i < kWidth; ++i)
        out[t * kWidth + i] += p[s] / sum * v[s * kWidth + i];
  }
  return out;
}

std::string moduleText(int64_t chunk, const std::string &element) {
  std::string c = std::to_string(chunk), q = "tensor<?x?x1x32x" + element + ">",
              v = "tensor<?x?x1x256x" + element + ">", keys = "tensor<?x" + c + "x1x32x" + element + ">",
              values = "tensor<?x" + c + "x1x256x" + element + ">";
  return "module {\n  func.func @forward(%q: " + q + " {mega.name = \"q\"}, %k: " + q +
         " {mega.name = \"k\"}, %v: " + v + " {mega.name = \"v\"}, %keys: " + keys +
         " {mega.state = \"keys\"}, %values: " + values +
         " {mega.state = \"values\"}, %at: tensor<?xi64> {mega.position}) -> (" + v +
         " {mega.name = \"o\"}, " + keys + " {mega.state = \"keys\"}, " + values +
         " {mega.state = \"values\"}) {\n    %o, %k1, %v1 = mega.chunk_attention %q, %k, %v, %keys, "
         "%values at %at chunk(" +
         c + ") : " + q + ", " + v + ", " + keys + ", " + values +
         ", tensor<?xi64>\n    return %o, %k1, %v1 : " + v + ", " + keys + ", " + values + "\n  }\n}\n";
}

/// Runs the pieces; those of one step take the kernel of one row. Clusters: `chunk` / 128 blocks, at
/// most 8.
void check(int64_t chunk, std::vector<int64_t> pieces, const std::string &element,
           double tolerance) {
  int64_t length = 0;
  for (int64_t piece : pieces)
    length += piece;
  ASSERT_LE(length, chunk);
  GoldenCase golden;
  golden.batch = 1, golden.length = length;
  for (auto [name, width] : {std::pair("q", kFeatures), {"k", kFeatures}, {"v", kWidth}})
    golden.inputs.push_back({name, CaseType::Float,
                             random({1, length, 1, width}, uint64_t(name[0]), width == kWidth ? 2 : 1)});
  Tensor expected =
      attend(golden.inputs[0].value, golden.inputs[1].value, golden.inputs[2].value);

  ModelFlags flags;
  flags.target = "sim:sm_90a";
  Result<std::unique_ptr<CaseProgram>> program =
      compiledRunner(flags)->compile(golden, moduleText(chunk, element), element);
  ASSERT_TRUE(program.isOk()) << program.status().message();
  auto session = (*program)->start(/*batch=*/1, /*threads=*/0);
  ASSERT_TRUE(session.isOk()) << session.status().message();
  std::vector<Tensor> found;
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    std::vector<CaseInput> inputs = golden.inputs;
    for (CaseInput &input : inputs)
      input.value = reference::steps(input.value, begin, begin + piece);
    std::map<std::string, Tensor> outputs;
    Status ran = (*session)->run(inputs, outputs);
    ASSERT_TRUE(ran.isOk()) << ran.message();
    found.push_back(outputs.at("o"));
    begin += piece;
  }
  Tensor joined = reference::joinSteps(found);
  EXPECT_LE(measureError(Measure::MaxRelative, joined, expected), tolerance);
}

// Blocks without a key, with some, with all.
TEST(AttentionSim, StepsOfAFreshChunk) { check(1024, {1, 1, 62, 1}, "f32", 2e-6); }
TEST(AttentionSim, StepsOfALongChunk) {
  check(1024, {1021, 1, 1, 1}, "bf16", 2e-2);
  check(512, {200, 1}, "f32", 2e-6);
}

} // namespace
