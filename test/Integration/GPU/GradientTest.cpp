//===- GradientTest.cpp - Gradients of ops in the simulator ----------------===//
//
// Timestep norm, CEMA and attention against time, of shapes that no golden file has: more steps
// than a tile of the kernels, widths that their pieces do not divide, several blocks for one sum.
// Each is run whole and cut into pieces (lib/Reference has the expected gradients).
//
//===----------------------------------------------------------------------===//

#include "CheckStates.h"
#include "CompiledRunner.h"

#include "otodus/Formats/Random.h"
#include "otodus/Reference/Gradients.h"

#include <gtest/gtest.h>

#include <sstream>

using namespace otodus;
using namespace otodus::driver;
using reference::Tensor;

namespace {

Tensor random(std::vector<int64_t> shape, uint64_t stream, double low = -1, double high = 1) {
  Tensor tensor(std::move(shape));
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor[i] = float(low + (high - low) * formats::uniform(17, stream, uint64_t(i)));
  return tensor;
}

using Source = CaseGradients::Source;

GoldenCase caseOf(CaseKind kind, int64_t batch, int64_t length, double tolerance) {
  GoldenCase golden;
  golden.name = nameOf(kind);
  golden.kind = kind;
  golden.config = smallestConfig();
  golden.batch = batch;
  golden.length = length;
  golden.gradients.emplace().tolerance = tolerance;
  return golden;
}

void check(const GoldenCase &golden, const std::string &dtype = "f32") {
  ModelFlags flags;
  flags.target = "sim:sm_80";
  flags.sim = "check=full";
  CheckOptions options;
  options.dtype = dtype;
  options.forward = options.stream = options.training = false;
  options.exactBatch = false;
  std::ostringstream out;
  CheckCounts counts;
  Status status = checkCase(golden, *compiledRunner(flags), options, out, counts);
  EXPECT_TRUE(status.isOk()) << status.message();
  EXPECT_EQ(counts.failed, 0) << out.str();
  EXPECT_EQ(counts.ok, 2 * int64_t(golden.gradients->expected.size())) << out.str();
}

void checkTimestepNorm(int64_t batch, int64_t length, int64_t width, int64_t groups) {
  GoldenCase golden = caseOf(CaseKind::TimestepNorm, batch, length, 5e-6);
  golden.config.model_dim = width;
  golden.config.norm_num_groups = groups;
  golden.config.norm_eps = 1e-5;
  // Large against its deviation, so that sums that cancel would show.
  Tensor x = random({batch, length, width}, 1, 2, 4), dy = random(x.shape, 2);
  golden.inputs.push_back({"x", CaseType::Float, x});
  golden.weights = {{"weight", random({width}, 3)}, {"bias", random({width}, 4)}};
  addStates(golden);
  reference::NormState state{std::vector<int64_t>(batch, 5), random({batch, groups}, 5, 2, 4),
                             random({batch, groups}, 6, 0.5, 2)};
  setInitial(golden, state);
  reference::NormStateGradients d = reference::zeroNormStateGradients(batch, groups);
  d.mean = random(d.mean.shape, 7);
  d.variance = random(d.variance.shape, 8);
  CaseGradients &gradients = *golden.gradients;
  gradients.cotangents.push_back({"cot_y", CaseType::Float, dy});
  gradients.stateCotangents = {{"mean", d.mean}, {"variance", d.variance}};
  reference::AffineGradients expected =
      reference::timestepNormBackward(x, golden.weights["weight"], state, groups, 1e-5, dy, d);
  gradients.expected = {{"x", Source::Input, "x", expected.x},
                        {"weight", Source::Weight, "weight", expected.weight},
                        {"bias", Source::Weight, "bias", expected.bias},
                        {"mean", Source::State, "mean", d.mean},
                        {"variance", Source::State, "variance", d.variance}};
  check(golden);
}

TEST(GradientSim, TimestepNorm) {
  checkTimestepNorm(2, 150, 128, 4); // four blocks, three time tiles
  checkTimestepNorm(1, 70, 48, 16);  // features of three, a width with padding
  checkTimestepNorm(1, 40, 64, 1);
}

void checkCema(int64_t batch, int64_t length, int64_t width, int64_t modes) {
  GoldenCase golden = caseOf(CaseKind::Cema, batch, length, 2e-5);
  golden.config.model_dim = width;
  golden.config.cema_ndim = modes;
  Tensor x = random({batch, length, width}, 11), dy = random(x.shape, 12);
  golden.inputs.push_back({"x", CaseType::Float, x});
  golden.weights = {{"alpha", random({width, modes, 1}, 13)},
                    {"delta", random({width, modes, 1}, 14, -6, 2)}, // slow modes too
                    {"theta", random({width, 1, 1}, 15)},
                    {"gamma", random({width, modes, 2}, 16)},
                    {"omega", random({width, 1}, 17)}};
  addStates(golden);
  Tensor h = random({batch, width, modes, 2}, 18), dh = random(h.shape, 19);
  stateOf(golden, "h").initial = h;
  CaseGradients &gradients = *golden.gradients;
  gradients.cotangents.push_back({"cot_y", CaseType::Float, dy});
  gradients.stateCotangents = {{"h", dh}};
  reference::Parameters &w = golden.weights;
  reference::CemaGradients expected = reference::cemaBackward(x, w["alpha"], w["delta"], w["theta"],
                                                              w["gamma"], w["omega"], h, dy, dh);
  gradients.expected = {{"x", Source::Input, "x", expected.x},
                        {"alpha", Source::Weight, "alpha", expected.alpha},
                        {"delta", Source::Weight, "delta", expected.delta},
                        {"theta", Source::Weight, "theta", expected.theta},
                        {"gamma", Source::Weight, "gamma", expected.gamma},
                        {"omega", Source::Weight, "omega", expected.omega},
                        {"h", Source::State, "h", dh}};
  check(golden);
}

TEST(GradientSim, Cema) {
  checkCema(2, 270, 40, 16); // tiles of four segments, the last of them with 14 steps
  checkCema(1, 580, 8, 3);   // sixteen segments, an odd number of modes
  checkCema(1, 33, 8, 20);   // warps with different numbers of modes, a segment of one step
}

void checkAttention(int64_t length, int64_t chunk, int64_t keyDim, int64_t valueDim,
                    const std::string &dtype = "f32") {
  bool bf16 = dtype == "bf16";
  GoldenCase golden = caseOf(CaseKind::Attention, 1, length, bf16 ? 2e-2 : 1e-5);
  if (bf16)
    golden.gradients->measure = Measure::RelativeRms;
  golden.config.z_dim = keyDim;
  golden.config.value_dim = valueDim;
  golden.config.chunk_size = chunk;
  Tensor q = random({1, length, keyDim}, 21), k = random(q.shape, 22);
  Tensor v = random({1, length, valueDim}, 23), dy = random(v.shape, 24);
  Tensor frequencies = random({keyDim / 2}, 25, 0, 1);
  golden.weights = {{"rope_freqs", frequencies}};
  for (auto [name, value] : {std::pair("q", &q), {"k", &k}, {"v", &v}})
    golden.inputs.push_back({name, CaseType::Float, splitHeads(*value, 1)});
  addStates(golden);
  CaseGradients &gradients = *golden.gradients;
  gradients.cotangents.push_back({"cot_o", CaseType::Float, splitHeads(dy, 1)});
  const std::vector<int64_t> start{0};
  reference::ChunkCache cache = reference::emptyChunkCache(1, chunk, 1, keyDim, valueDim);
  reference::ChunkCache dCache = cache;
  auto turned = [&](const Tensor &x) { return reference::rotary(x, frequencies, start, chunk, 1); };
  reference::AttentionGradients expected =
      reference::chunkAttentionBackward(turned(q), turned(k), v, start, cache, dy, dCache);
  auto back = [&](const Tensor &d) {
    return reference::rotaryBackward(d, frequencies, start, chunk, 1);
  };
  gradients.expected = {{"q", Source::Input, "q", back(expected.q)},
                        {"k", Source::Input, "k", back(expected.k)},
                        {"v", Source::Input, "v", expected.v}};
  check(golden, dtype);
}

TEST(GradientSim, Attention) {
  checkAttention(150, 100, 72, 300); // two tiles of rows and keys, two blocks for dV
  checkAttention(30, 20, 264, 24);   // two blocks for dQ and dK
}

TEST(GradientSim, AttentionBF16) {
  checkAttention(150, 100, 72, 300, "bf16"); // slices of 128, 64 and 32 columns, 32 features
  checkAttention(70, 70, 64, 64, "bf16");    // 64 features at once; part of a tile
}

} // namespace
