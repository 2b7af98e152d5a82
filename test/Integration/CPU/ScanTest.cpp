//===- ScanTest.cpp - Recurrences through the compiler and the runtime -----===//
//
// mega.scan as MEGA's real moving average, as Megalodon's complex one, as Mamba's selective
// scan, and with inputs of every shape that has a kernel, against lib/Reference and against
// the numbers of public code in test/golden-zoo.
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

/// Multiples of 1/64 in [-2, 2): exact in bf16.
Tensor random(std::vector<int64_t> shape, uint64_t stream, double low = -2, double high = 2) {
  Tensor tensor(std::move(shape));
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor[i] =
        std::floor((low + (high - low) * formats::uniform(7, stream, uint64_t(i))) * 64) / 64;
  return tensor;
}

/// A function of one scan, its operands, and what must come out.
struct Case {
  GoldenCase golden; ///< weights and inputs
  /// Of @forward, up to the return, for `fill`; makes %y and the states %new0, …
  std::string body;
  std::vector<Tensor> states, expectedStates;
  Tensor expected;
  int64_t channels = 0, modes = 0, batch = 0, length = 0;
};

std::string tensorType(const std::vector<int64_t> &dims, const std::string &element) {
  std::string text = "tensor<";
  for (int64_t dim : dims)
    text += (dim < 0 ? "?" : std::to_string(dim)) + "x";
  return text + element + ">";
}

std::string activationType(std::vector<int64_t> shape, const std::string &element) {
  shape[0] = shape[1] = -1;
  return tensorType(shape, element);
}

/// Replaces in a body: <T>, <P>: activations [b, t, d] and [b, t, n]; <W>: [d, n]; <M>: [n, d];
/// <D>: [d]; <N>: [n]; <S>: a state; <arg x>: an argument of a scan's body that comes as the
/// element; <widen x>: makes %x of it, f32.
std::string fill(std::string text, const Case &c, const std::string &element) {
  auto replace = [&](const std::string &from, const std::string &to) {
    for (size_t at; (at = text.find(from)) != std::string::npos;)
      text.replace(at, from.size(), to);
  };
  replace("<T>", activationType({0, 0, c.channels}, element));
  replace("<P>", activationType({0, 0, c.modes}, element));
  replace("<TDN>", activationType({0, 0, c.channels, c.modes}, element));
  replace("<TND>", activationType({0, 0, c.modes, c.channels}, element));
  replace("<W>", tensorType({c.channels, c.modes}, "f32"));
  replace("<M>", tensorType({c.modes, c.channels}, "f32"));
  replace("<D>", tensorType({c.channels}, "f32"));
  replace("<N>", tensorType({c.modes}, "f32"));
  replace("<S>", tensorType({-1, c.channels, c.modes}, "f32"));
  bool f32 = element == "f32";
  for (size_t at; (at = text.find("<arg ")) != std::string::npos;) {
    size_t end = text.find('>', at);
    std::string name = text.substr(at + 5, end - at - 5);
    text.replace(at, end - at + 1, (f32 ? "%" : "%raw") + name + ": " + element);
  }
  for (size_t at; (at = text.find("<widen ")) != std::string::npos;) {
    size_t end = text.find('>', at);
    std::string name = text.substr(at + 7, end - at - 7);
    text.replace(at, end - at + 1,
                 f32 ? "" : "%" + name + " = arith.extf %raw" + name + " : bf16 to f32");
  }
  return text;
}

/// %NAME is input NAME, an activation, or weight NAME.
std::string moduleText(const Case &c, const std::string &element) {
  std::string weights, uses, arguments, values = "%y", types, results;
  for (const auto &[name, value] : c.golden.weights) {
    std::string type = tensorType(value.shape, "f32");
    weights += "  mega.weight @" + name + " : " + type + "\n";
    uses += "    %" + name + " = mega.use_weight @" + name + " : " + type + "\n";
  }
  for (const CaseInput &input : c.golden.inputs)
    arguments += "%" + input.name + ": " + activationType(input.value.shape, element) +
                 " {mega.name = \"" + input.name + "\"}, ";
  types = activationType({0, 0, c.channels}, element);
  results = types + " {mega.name = \"y\"}";
  std::string state = tensorType({-1, c.channels, c.modes}, "f32");
  for (size_t i = 0; i < c.states.size(); ++i) {
    std::string name = "h" + std::to_string(i), attribute = " {mega.state = \"" + name + "\"}";
    arguments += "%" + name + ": " + state + attribute + ", ";
    results += ", " + state + attribute;
    values += ", %new" + std::to_string(i);
    types += ", " + state;
  }
  arguments.resize(arguments.size() - 2);
  return "#btd = affine_map<(b, t, d, n) -> (b, t, d)>\n"
         "#btn = affine_map<(b, t, d, n) -> (b, t, n)>\n"
         "#btdn = affine_map<(b, t, d, n) -> (b, t, d, n)>\n"
         "#btnd = affine_map<(b, t, d, n) -> (b, t, n, d)>\n"
         "#dn = affine_map<(b, t, d, n) -> (d, n)>\n"
         "#nd = affine_map<(b, t, d, n) -> (n, d)>\n"
         "#d = affine_map<(b, t, d, n) -> (d)>\n"
         "#n = affine_map<(b, t, d, n) -> (n)>\n"
         "module {\n" +
         weights + "  func.func @forward(" + arguments + ") -> (" + results + ") {\n" + uses +
         fill(c.body, c, element) + "    return " + values + " : " + types + "\n  }\n}\n";
}

/// Runs the case in pieces and compares outputs and states.
void check(const Case &c, const std::string &target, const std::string &element,
           const std::vector<int64_t> &pieces, double tolerance) {
  std::string module = moduleText(c, element);
  ModelFlags flags;
  flags.target = target;
  Result<std::unique_ptr<CaseProgram>> program =
      compiledRunner(flags)->compile(c.golden, module, element);
  ASSERT_TRUE(program.isOk()) << program.status().message() << "\n" << module;
  auto session = (*program)->start(c.batch, /*threads=*/0);
  ASSERT_TRUE(session.isOk()) << session.status().message();
  for (size_t i = 0; i < c.states.size(); ++i) {
    Status set = (*session)->setState("h" + std::to_string(i), CaseType::Float, c.states[i]);
    ASSERT_TRUE(set.isOk()) << set.message();
  }
  std::vector<Tensor> found;
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    std::vector<CaseInput> inputs;
    for (const CaseInput &input : c.golden.inputs)
      inputs.push_back(
          {input.name, input.type, reference::steps(input.value, begin, begin + piece)});
    std::map<std::string, Tensor> outputs;
    Status ran = (*session)->run(inputs, outputs);
    ASSERT_TRUE(ran.isOk()) << ran.message();
    found.push_back(outputs.at("y"));
    begin += piece;
  }
  ASSERT_EQ(begin, c.length);
  EXPECT_LE(measureError(Measure::MaxRelative, reference::joinSteps(found), c.expected), tolerance)
      << module;
  for (size_t i = 0; i < c.states.size(); ++i) {
    Result<Tensor> state = (*session)->state("h" + std::to_string(i));
    ASSERT_TRUE(state.isOk()) << state.status().message();
    EXPECT_LE(measureError(Measure::MaxRelative, *state, c.expectedStates[i]), tolerance)
        << "state " << i << " of\n"
        << module;
  }
}

/// Whole, and cut at random.
void checkEverywhere(const Case &c, uint64_t seed, bool bf16 = true) {
  std::vector<int64_t> cuts;
  for (int64_t left = c.length; left > 0; left -= cuts.back())
    cuts.push_back(std::min(
        left, 1 + int64_t(formats::uniform(seed, 99, cuts.size()) * double(c.length) / 2)));
  for (const char *target : {"cpu", "cpu:x86-64-v3", "sim:sm_80"}) {
    check(c, target, "f32", {c.length}, 5e-6);
    check(c, target, "f32", cuts, 5e-6);
    if (bf16)
      check(c, target, "bf16", cuts, 2e-2);
  }
}

/// y = init + Σ_n read h with h_t = decay h + drive; all but y and init [B, L, D * N].
Tensor scanAndRead(const Tensor &decay, const Tensor &drive, const Tensor &read, const Tensor &init,
                   Tensor &h) {
  std::vector<int64_t> shape = h.shape;
  h.shape = {shape[0], shape[1] * shape[2]};
  Tensor all = reference::scan(decay, drive, h, /*isComplex=*/false), y = init;
  h.shape = shape;
  for (int64_t i = 0; i < all.size(); ++i)
    y[i / shape[2]] += read[i] * all[i];
  return y;
}

/// f(b, t, d, n) for every point, [B, L, D * N].
Tensor points(const Case &c, const std::function<double(int64_t, int64_t, int64_t, int64_t)> &f) {
  Tensor tensor({c.batch, c.length, c.channels * c.modes});
  for (int64_t i = 0; i < tensor.size(); ++i) {
    int64_t n = i % c.modes, d = i / c.modes % c.channels, row = i / c.modes / c.channels;
    tensor[i] = f(row / c.length, row % c.length, d, n);
  }
  return tensor;
}

Case makeCase(const char *name, int64_t batch, int64_t length, int64_t channels, int64_t modes) {
  Case c;
  c.golden.kind = CaseKind::Cema; // any that comes as a module
  c.golden.name = name;
  c.batch = batch;
  c.length = length;
  c.channels = channels;
  c.modes = modes;
  return c;
}

void addInput(Case &c, const char *name, Tensor value) {
  c.golden.inputs.push_back({name, CaseType::Float, std::move(value)});
}

struct Sizes {
  int64_t channels, modes, length;
};
const Sizes kSizes[] = {{20, 1, 1}, {48, 5, 37}, {64, 8, 70}, {5, 3, 23}, {160, 4, 33}};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

//===----------------------------------------------------------------------===//
// MEGA's moving average
//===----------------------------------------------------------------------===//

const char *kRealEma = R"(
    %init = mega.scale %x, %omega : <T>, <D>
    %y, %new0 = mega.scan
        ins(%x, %q, %p, %g : <T>, <W>, <W>, <W>) init(%init : <T>) states(%h0 : <S>)
        maps [#btd, #dn, #dn, #dn] {
    ^bb0(<arg xt>, %qd: f32, %pd: f32, %gd: f32, %h: f32):
      <widen xt>
      %decayed = arith.mulf %qd, %h : f32
      %driven = arith.mulf %pd, %xt : f32
      %next = arith.addf %decayed, %driven : f32
      %read = arith.mulf %gd, %next : f32
      mega.scan_yield %next, %read : f32, f32
    }
)";

TEST(Scan, RealMovingAverage) {
  for (const Sizes &s : kSizes) {
    Case c = makeCase("real_ema", 3, s.length, s.channels, s.modes);
    Tensor x = random({3, s.length, s.channels}, 1);
    Tensor q = random({s.channels, s.modes}, 2, 0, 1), p = random({s.channels, s.modes}, 3, 0, 1);
    Tensor g = random({s.channels, s.modes}, 4), omega = random({s.channels}, 5);
    c.golden.weights = {{"q", q}, {"p", p}, {"g", g}, {"omega", omega}};
    addInput(c, "x", x);
    c.body = kRealEma;
    c.states = {random({3, s.channels, s.modes}, 6)};
    auto at = [&](int64_t b, int64_t t, int64_t d) {
      return x[(b * s.length + t) * s.channels + d];
    };
    Tensor init = x, h = c.states[0];
    for (int64_t i = 0; i < init.size(); ++i)
      init[i] *= omega[i % s.channels];
    c.expected = scanAndRead(
        points(c, [&](auto, auto, int64_t d, int64_t n) { return q[d * s.modes + n]; }),
        points(c, [&](int64_t b, int64_t t, int64_t d,
                      int64_t n) { return p[d * s.modes + n] * at(b, t, d); }),
        points(c, [&](auto, auto, int64_t d, int64_t n) { return g[d * s.modes + n]; }), init, h);
    c.expectedStates = {h};
    checkEverywhere(c, uint64_t(s.channels));
  }
}

//===----------------------------------------------------------------------===//
// Megalodon's, with two states
//===----------------------------------------------------------------------===//

const char *kComplexEma = R"(
    %init = mega.scale %x, %omega : <T>, <D>
    %y, %new0, %new1 = mega.scan
        ins(%x, %qre, %qim, %p, %gre, %gim : <T>, <W>, <W>, <W>, <W>, <W>) init(%init : <T>)
        states(%h0, %h1 : <S>, <S>) maps [#btd, #dn, #dn, #dn, #dn, #dn] {
    ^bb0(<arg xt>, %qr: f32, %qi: f32, %pd: f32, %gr: f32, %gi: f32, %hr: f32, %hi: f32):
      <widen xt>
      %driven = arith.mulf %pd, %xt : f32
      %rr = arith.mulf %qr, %hr : f32
      %ii = arith.mulf %qi, %hi : f32
      %ri = arith.mulf %qr, %hi : f32
      %ir = arith.mulf %qi, %hr : f32
      %turned = arith.subf %rr, %ii : f32
      %re = arith.addf %turned, %driven : f32
      %im = arith.addf %ri, %ir : f32
      %a = arith.mulf %gr, %re : f32
      %b = arith.mulf %gi, %im : f32
      %read = arith.subf %a, %b : f32
      mega.scan_yield %re, %im, %read : f32, f32, f32
    }
)";

TEST(Scan, ComplexMovingAverage) {
  for (const Sizes &s : kSizes) {
    Case c = makeCase("complex_ema", 3, s.length, s.channels, s.modes);
    int64_t D = s.channels, N = s.modes;
    Tensor x = random({3, s.length, D}, 1), omega = random({D}, 5);
    reference::CemaCoefficients k = reference::cemaCoefficients(
        random({D, N, 1}, 2), random({D, N, 1}, 3), random({D, 1, 1}, 4), random({D, N, 2}, 6));
    Tensor parts[2] = {random({3, D, N}, 7), random({3, D, N}, 8)};
    Tensor qre({D, N}), qim({D, N}), gre({D, N}), gim({D, N}), h({3, D, N, 2});
    for (int64_t i = 0; i < D * N; ++i) {
      qre[i] = k.q[2 * i], qim[i] = k.q[2 * i + 1];
      gre[i] = k.g[2 * i], gim[i] = k.g[2 * i + 1];
    }
    for (int64_t i = 0; i < h.size(); ++i)
      h[i] = parts[i % 2][i / 2];
    c.golden.weights = {{"qre", qre}, {"qim", qim}, {"p", k.p},
                        {"gre", gre}, {"gim", gim}, {"omega", omega}};
    addInput(c, "x", x);
    c.body = kComplexEma;
    c.states = {parts[0], parts[1]};
    c.expected = reference::cema(x, random({D, N, 1}, 2), random({D, N, 1}, 3),
                                 random({D, 1, 1}, 4), random({D, N, 2}, 6), omega, h);
    for (int64_t i = 0; i < h.size(); ++i)
      parts[i % 2][i / 2] = h[i];
    c.expectedStates = {parts[0], parts[1]};
    checkEverywhere(c, uint64_t(s.channels));
  }
}

//===----------------------------------------------------------------------===//
// Mamba's selective scan
//===----------------------------------------------------------------------===//

const char *kSelectiveScan = R"(
    %init = mega.scale %u, %skip : <T>, <D>
    %y, %new0 = mega.scan
        ins(%u, %delta, %A, %B, %C : <T>, <T>, <W>, <P>, <P>) init(%init : <T>)
        states(%h0 : <S>) maps [#btd, #btd, #dn, #btn, #btn] {
    ^bb0(<arg ut>, <arg dt>, %ad: f32, <arg bt>, <arg ct>, %h: f32):
      <widen ut>
      <widen dt>
      <widen bt>
      <widen ct>
      %exponent = arith.mulf %dt, %ad : f32
      %decay = math.exp %exponent : f32
      %decayed = arith.mulf %decay, %h : f32
      %db = arith.mulf %dt, %bt : f32
      %driven = arith.mulf %db, %ut : f32
      %next = arith.addf %decayed, %driven : f32
      %read = arith.mulf %ct, %next : f32
      mega.scan_yield %next, %read : f32, f32
    }
)";

/// u, delta [B, L, D], A [D, N], B and C [B, L, N].
void expectSelectiveScan(Case &c, const Tensor &u, const Tensor &delta, const Tensor &A,
                         const Tensor &B, const Tensor &C, const Tensor &skip) {
  c.golden.weights = {{"A", A}, {"skip", skip}};
  addInput(c, "u", u);
  addInput(c, "delta", delta);
  addInput(c, "B", B);
  addInput(c, "C", C);
  c.body = kSelectiveScan;
  auto channel = [&](const Tensor &x, int64_t b, int64_t t, int64_t d) {
    return x[(b * c.length + t) * c.channels + d];
  };
  auto mode = [&](const Tensor &x, int64_t b, int64_t t, int64_t n) {
    return x[(b * c.length + t) * c.modes + n];
  };
  Tensor init = u, h = c.states[0];
  for (int64_t i = 0; i < init.size(); ++i)
    init[i] *= skip[i % c.channels];
  c.expected = scanAndRead(
      points(c, [&](int64_t b, int64_t t, int64_t d,
                    int64_t n) { return std::exp(channel(delta, b, t, d) * A[d * c.modes + n]); }),
      points(c,
             [&](int64_t b, int64_t t, int64_t d, int64_t n) {
               return channel(delta, b, t, d) * mode(B, b, t, n) * channel(u, b, t, d);
             }),
      points(c, [&](int64_t b, int64_t t, auto, int64_t n) { return mode(C, b, t, n); }), init, h);
  c.expectedStates = {h};
}

TEST(Scan, SelectiveScan) {
  for (const Sizes &s : kSizes) {
    Case c = makeCase("selective_scan", 3, s.length, s.channels, s.modes);
    c.states = {random({3, s.channels, s.modes}, 6)};
    expectSelectiveScan(c, random({3, s.length, s.channels}, 1),
                        random({3, s.length, s.channels}, 2, 0, 1),
                        random({s.channels, s.modes}, 3, -2, 0), random({3, s.length, s.modes}, 4),
                        random({3, s.length, s.modes}, 5), random({s.channels}, 7));
    checkEverywhere(c, uint64_t(s.channels));
  }
}

//===----------------------------------------------------------------------===//
// Every shape of input
//===----------------------------------------------------------------------===//

const char *kEveryInput = R"(
    %y, %new0 = mega.scan
        ins(%x, %a, %w, %v, %e, %f, %m : <T>, <D>, <N>, <M>, <TDN>, <TND>, <P>) init(%x : <T>)
        states(%h0 : <S>) maps [#btd, #d, #n, #nd, #btdn, #btnd, #btn] {
    ^bb0(<arg xt>, %ad: f32, %wn: f32, %vnd: f32, <arg et>, <arg ft>, <arg mt>, %h: f32):
      <widen xt>
      <widen et>
      <widen ft>
      <widen mt>
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %larger = arith.maximumf %h, %one : f32
      %used = arith.divf %h, %larger : f32
      %near = arith.mulf %half, %wn : f32
      %decay = arith.mulf %near, %ad : f32
      %kept = arith.mulf %decay, %used : f32
      %drive = arith.mulf %vnd, %et : f32
      %driven = arith.addf %drive, %xt : f32
      %next = arith.addf %kept, %driven : f32
      %gain = arith.addf %ft, %mt : f32
      %read = arith.mulf %gain, %next : f32
      mega.scan_yield %next, %read : f32, f32
    }
)";

TEST(Scan, EveryShapeOfInput) {
  for (const Sizes &s : kSizes) {
    Case c = makeCase("every_input", 3, s.length, s.channels, s.modes);
    int64_t D = s.channels, N = s.modes, L = s.length;
    Tensor x = random({3, L, D}, 1), a = random({D}, 2, -1, 1), w = random({N}, 3, -1, 1);
    Tensor v = random({N, D}, 4), e = random({3, L, D, N}, 5), f = random({3, L, N, D}, 6);
    Tensor m = random({3, L, N}, 7);
    c.golden.weights = {{"a", a}, {"w", w}, {"v", v}};
    addInput(c, "x", x);
    addInput(c, "e", e);
    addInput(c, "f", f);
    addInput(c, "m", m);
    c.body = kEveryInput;
    c.states = {random({3, D, N}, 8)};
    Tensor h = c.states[0];
    c.expected = x;
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t t = 0; t < L; ++t)
        for (int64_t d = 0; d < D; ++d)
          for (int64_t n = 0; n < N; ++n) {
            int64_t row = b * L + t;
            double &state = h[(b * D + d) * N + n], &y = c.expected[row * D + d];
            state = 0.5 * w[n] * a[d] * (state / std::max(state, 1.0)) +
                    v[n * D + d] * e[(row * D + d) * N + n] + x[row * D + d];
            y += (f[(row * N + n) * D + d] + m[row * N + n]) * state;
          }
    c.expectedStates = {h};
    checkEverywhere(c, uint64_t(s.channels));
  }
}

//===----------------------------------------------------------------------===//
// Numbers of public code
//===----------------------------------------------------------------------===//

class Golden {
public:
  explicit Golden(const std::string &name) {
    Result<formats::SafetensorsFile> file =
        formats::SafetensorsFile::open(std::string(OTODUS_GOLDEN_ZOO) + "/" + name);
    EXPECT_TRUE(file.isOk()) << file.status().message();
    for (const formats::Tensor &tensor : file->tensors())
      tensors_[tensor.name] = *reference::read(tensor);
  }
  const Tensor &operator[](const std::string &name) const { return tensors_.at(name); }

private:
  std::map<std::string, Tensor> tensors_;
};

/// [B, W, L] to [B, L, W].
Tensor timeSecond(const Tensor &x) {
  int64_t width = x.dim(1), length = x.dim(2);
  Tensor y({x.dim(0), length, width});
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t t = i % length, w = i / length % width, b = i / length / width;
    y[(b * length + t) * width + w] = x[i];
  }
  return y;
}

void checkGolden(const Case &c) {
  check(c, "cpu", "f32", {c.length}, 2e-5);
  check(c, "cpu", "f32", {1, 7, c.length - 8}, 2e-5);
  check(c, "cpu:x86-64-v3", "f32", {c.length}, 2e-5);
  check(c, "sim:sm_80", "f32", {c.length}, 2e-5);
}

TEST(ScanGolden, MegaMovingAverage) {
  Golden golden("mega_ema_uni.safetensors");
  Case c = makeCase("mega_ema_uni", 2, 23, 5, 3);
  Tensor q({5, 3}), p({5, 3}), g({5, 3});
  for (int64_t i = 0; i < 15; ++i) {
    p[i] = sigmoid(golden["param.delta"][i]);
    q[i] = 1 - p[i] * sigmoid(golden["param.alpha"][i]);
    p[i] *= golden["param.beta"][i];
    g[i] = golden["param.gamma"][i] / std::sqrt(3.0);
  }
  c.golden.weights = {{"q", q}, {"p", p}, {"g", g}, {"omega", golden["param.omega"]}};
  addInput(c, "x", golden["in.x"]);
  c.body = kRealEma;
  c.body.replace(c.body.find("%y, %new0"), 9, "%m, %new0");
  c.body += "    %y = mega.silu %m : <T>\n";
  c.states = {Tensor({2, 5, 3})};
  c.expectedStates = {golden["state.h_final"]};
  c.expected = golden["out.y"];
  checkGolden(c);
}

TEST(ScanGolden, SelectiveScan) {
  Golden golden("selective_scan_plain.safetensors");
  Case c = makeCase("selective_scan_plain", 2, 37, 6, 5);
  c.states = {Tensor({2, 6, 5})};
  expectSelectiveScan(c, timeSecond(golden["in.u"]), timeSecond(golden["in.delta"]), golden["in.A"],
                      timeSecond(golden["in.B"]), timeSecond(golden["in.C"]), Tensor({6}));
  c.expected = timeSecond(golden["out.y"]);
  c.expectedStates = {golden["out.last_state"]};
  checkGolden(c);
}

TEST(ScanGolden, HardDecays) {
  Golden golden("recurrence_real.safetensors");
  Case c = makeCase("recurrence_real", 2, 193, 6, 1);
  c.golden.weights = {{"skip", Tensor({6})}};
  addInput(c, "a", golden["in.a"]);
  addInput(c, "b", golden["in.b"]);
  c.body = R"(
    %init = mega.scale %a, %skip : <T>, <D>
    %y, %new0 = mega.scan ins(%a, %b : <T>, <T>) init(%init : <T>) states(%h0 : <S>)
        maps [#btd, #btd] {
    ^bb0(%at: f32, %bt: f32, %h: f32):
      %decayed = arith.mulf %at, %h : f32
      %next = arith.addf %decayed, %bt : f32
      mega.scan_yield %next, %next : f32, f32
    }
)";
  Tensor h0 = golden["in.h0"];
  h0.shape = {2, 6, 1};
  c.states = {h0};
  c.expected = golden["out.h"];
  Tensor last = reference::steps(c.expected, 192, 193);
  last.shape = {2, 6, 1};
  c.expectedStates = {last};
  checkGolden(c);
}

//===----------------------------------------------------------------------===//
// In company
//===----------------------------------------------------------------------===//

// A scan joins the norm that feeds it; constants outside of its body come along. What it reads
// for all channels stays outside.
TEST(Scan, AfterANorm) {
  Case c = makeCase("norm_scan", 3, 45, 48, 5);
  Tensor x = random({3, 45, 48}, 1), g = random({48, 5}, 2);
  c.golden.weights = {{"g", g}, {"zeros", Tensor({48})}};
  addInput(c, "x", x);
  c.body = R"(
    %half = arith.constant 0.5 : f32
    %init = mega.scale %x, %zeros : <T>, <D>
    %first, %new0 = mega.scan ins(%x : <T>) init(%init : <T>) states(%h0 : <S>) maps [#btd] {
    ^bb0(<arg xt>, %h: f32):
      <widen xt>
      %kept = arith.mulf %half, %h : f32
      %next = arith.addf %kept, %xt : f32
      mega.scan_yield %next, %next : f32, f32
    }
    %y, %new1 = mega.scan ins(%first, %g : <T>, <W>) init(%x : <T>) states(%h1 : <S>)
        maps [#btd, #dn] {
    ^bb0(<arg xt>, %gd: f32, %h: f32):
      <widen xt>
      %kept = arith.mulf %half, %h : f32
      %next = arith.addf %kept, %xt : f32
      %read = arith.mulf %gd, %next : f32
      mega.scan_yield %next, %read : f32, f32
    }
)";
  c.states = {random({3, 48, 5}, 3), random({3, 48, 5}, 4)};
  Tensor one = c.states[0], two = c.states[1];
  c.expected = x;
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t t = 0; t < 45; ++t)
      for (int64_t d = 0; d < 48; ++d) {
        double first = 0, &y = c.expected[(b * 45 + t) * 48 + d], in = y;
        for (int64_t n = 0; n < 5; ++n) {
          double &h = one[(b * 48 + d) * 5 + n];
          first += h = 0.5 * h + in;
        }
        for (int64_t n = 0; n < 5; ++n) {
          double &h = two[(b * 48 + d) * 5 + n];
          h = 0.5 * h + first;
          y += g[d * 5 + n] * h;
        }
      }
  c.expectedStates = {one, two};
  checkEverywhere(c, 3);
}

//===----------------------------------------------------------------------===//
// What has no kernel
//===----------------------------------------------------------------------===//

void expectNoKernel(Case c, const char *message) {
  c.states = {Tensor({3, 48, 5})};
  addInput(c, "x", random({3, 2, 48}, 1));
  testing::internal::CaptureStderr();
  auto program = compiledRunner(ModelFlags())->compile(c.golden, moduleText(c, "f32"), "f32");
  std::string printed = testing::internal::GetCapturedStderr();
  ASSERT_FALSE(program.isOk());
  EXPECT_NE((printed + program.status().message()).find(message), std::string::npos)
      << printed << program.status().message();
}

TEST(Scan, SaysWhatHasNoKernel) {
  Case c = makeCase("refused", 3, 2, 48, 5);
  c.body = R"(
    %y, %new0 = mega.scan init(%x : <T>) states(%h0 : <S>) maps [] reverse {
    ^bb0(%h: f32):
      mega.scan_yield %h, %h : f32, f32
    }
)";
  expectNoKernel(c, "against time has no kernel");
  c.golden.weights = {{"q", Tensor({3, 48})}};
  c.body = R"(
    %y, %new0 = mega.scan ins(%q : tensor<3x48xf32>) init(%x : <T>) states(%h0 : <S>)
        maps [affine_map<(b, t, d, n) -> (b, d)>] {
    ^bb0(%qd: f32, %h: f32):
      mega.scan_yield %h, %qd : f32, f32
    }
)";
  expectNoKernel(c, "has no kernel for input 0");
}

} // namespace
