//===- StreamTest.cpp - Timestep norm and CEMA in the simulator ------------===//
//
// The fused kernel of both, step by step and in blocks of sixteen steps, against lib/Reference:
// calls that fill a time tile, end inside one, inside a block, or are one step long.
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

/// Multiples of 1/64 in [low, high): exact in bf16 up to 4.
Tensor random(std::vector<int64_t> shape, uint64_t stream, double low = -2, double high = 2) {
  Tensor tensor(std::move(shape));
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor[i] =
        std::floor((low + (high - low) * formats::uniform(11, stream, uint64_t(i))) * 64) / 64;
  return tensor;
}

struct Shape {
  int64_t batch, channels, groups, modes;
  std::vector<int64_t> pieces;
};

std::string moduleText(const Shape &s, const std::string &element) {
  std::string d = std::to_string(s.channels), n = std::to_string(s.modes);
  std::string g = std::to_string(s.groups), x = "tensor<?x?x" + d + "x" + element + ">";
  std::string m = "tensor<?x" + g + "xf32>", h = "tensor<?x" + d + "x" + n + "x2xf32>";
  std::string dn = "tensor<" + d + "x" + n + "x1xf32>", dn2 = "tensor<" + d + "x" + n + "x2xf32>";
  std::string d11 = "tensor<" + d + "x1x1xf32>", d1 = "tensor<" + d + "x1xf32>";
  std::string w = "tensor<" + d + "xf32>", weights, uses;
  for (auto [name, type] : {std::pair("weight", w),
                            {"bias", w},
                            {"alpha", dn},
                            {"delta", dn},
                            {"theta", d11},
                            {"gamma", dn2},
                            {"omega", d1}}) {
    weights += "  mega.weight @" + std::string(name) + " : " + type + "\n";
    uses += "    %" + std::string(name) + " = mega.use_weight @" + name + " : " + type + "\n";
  }
  auto state = [](const char *name) { return " {mega.state = \"" + std::string(name) + "\"}"; };
  return "module {\n" + weights + "  func.func @forward(%x: " + x +
         " {mega.name = \"x\"}, %n0: tensor<?xi64>" + state("count") + ", %m0: " + m +
         state("mean") + ", %v0: " + m + state("variance") + ", %h0: " + h + state("h") + ") -> (" +
         x + " {mega.name = \"t\"}, " + x + " {mega.name = \"y\"}, tensor<?xi64>" + state("count") +
         ", " + m + state("mean") + ", " + m + state("variance") + ", " + h + state("h") + ") {\n" +
         uses +
         "    %t, %n1, %m1, %v1 = mega.timestep_norm %x, %weight, %bias, %n0, %m0, %v0 groups(" +
         g + ") eps(1.0e-5) : " + x + ", " + w + ", tensor<?xi64>, " + m + "\n" +
         "    %y, %h1 = mega.cema %t, %alpha, %delta, %theta, %gamma, %omega, %h0 : " + x + ", " +
         dn + ", " + d11 + ", " + dn2 + ", " + d1 + ", " + h +
         "\n    return %t, %y, %n1, %m1, %v1, %h1 : " + x + ", " + x + ", tensor<?xi64>, " + m +
         ", " + m + ", " + h + "\n  }\n}\n";
}

void check(const Shape &s, const std::string &element, double tolerance, double stateTolerance,
           const std::string &target = "sim:sm_80") {
  int64_t length = 0;
  for (int64_t piece : s.pieces)
    length += piece;
  GoldenCase golden;
  golden.batch = s.batch, golden.length = length;
  // Large against their deviation, so that sums that cancel would show.
  Tensor x = random({s.batch, length, s.channels}, 1, 2, 4);
  golden.inputs.push_back({"x", CaseType::Float, x});
  golden.weights["weight"] = random({s.channels}, 2, -0.5, 0.5);
  golden.weights["bias"] = random({s.channels}, 3, -0.5, 0.5);
  golden.weights["alpha"] = random({s.channels, s.modes, 1}, 4);
  golden.weights["delta"] = random({s.channels, s.modes, 1}, 5, -6, 2); // slow modes too
  golden.weights["theta"] = random({s.channels, 1, 1}, 6);
  golden.weights["gamma"] = random({s.channels, s.modes, 2}, 7);
  golden.weights["omega"] = random({s.channels, 1}, 8);

  reference::NormState norm = reference::freshNormState(s.batch, s.groups);
  Tensor t = reference::timestepNorm(x, golden.weights["weight"], golden.weights["bias"], norm,
                                     s.groups, 1e-5);
  Tensor h({s.batch, s.channels, s.modes, 2});
  Tensor y =
      reference::cema(t, golden.weights["alpha"], golden.weights["delta"], golden.weights["theta"],
                      golden.weights["gamma"], golden.weights["omega"], h);

  std::string module = moduleText(s, element);
  ModelFlags flags;
  flags.target = target;
  Result<std::unique_ptr<CaseProgram>> program =
      compiledRunner(flags)->compile(golden, module, element);
  ASSERT_TRUE(program.isOk()) << program.status().message() << "\n" << module;
  auto session = (*program)->start(s.batch, /*threads=*/0);
  ASSERT_TRUE(session.isOk()) << session.status().message();
  std::vector<Tensor> norms, found;
  int64_t begin = 0;
  for (int64_t piece : s.pieces) {
    std::map<std::string, Tensor> outputs;
    Status ran = (*session)->run(
        {{"x", CaseType::Float, reference::steps(x, begin, begin + piece)}}, outputs);
    ASSERT_TRUE(ran.isOk()) << ran.message();
    norms.push_back(outputs.at("t"));
    found.push_back(outputs.at("y"));
    begin += piece;
  }
  EXPECT_LE(measureError(Measure::MaxRelative, reference::joinSteps(norms), t), tolerance);
  EXPECT_LE(measureError(Measure::MaxRelative, reference::joinSteps(found), y), tolerance);
  Result<Tensor> state = (*session)->state("h");
  ASSERT_TRUE(state.isOk()) << state.status().message();
  EXPECT_LE(measureError(Measure::MaxRelative, *state, h), stateTolerance);
}

TEST(StreamSim, StepByStep) {
  check({2, 128, 2, 16, {1, 70, 1}}, "f32", 5e-6, 5e-6);
  check({1, 96, 32, 3, {65}}, "f32", 5e-6, 5e-6);
  check({1, 64, 1, 16, {1, 70}}, "bf16", 2e-2, 1e-5);
}

TEST(StreamSim, Blocks) {
  check({2, 64, 1, 16, {256, 144, 131, 1}}, "bf16", 2e-2, 2e-2);
  check({1, 128, 4, 8, {391}}, "bf16", 2e-2, 2e-2);
  check({1, 50, 1, 16, {129, 128}}, "bf16", 2e-2, 2e-2);
}

// With more shared memory the last channel of a warp has its matrices there.
TEST(StreamSim, BlocksOnARoomyChip) {
  check({1, 64, 1, 16, {256, 144, 131, 1}}, "bf16", 2e-2, 2e-2, "sim:sm_90a");
  check({1, 128, 4, 8, {391}}, "bf16", 2e-2, 2e-2, "sim:sm_90a");
}

} // namespace
