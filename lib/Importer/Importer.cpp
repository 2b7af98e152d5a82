//===- Importer.cpp - A configuration becomes a module ---------------------===//

#include "otodus/Importer/Importer.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"

#include <cmath>
#include <set>

using namespace mlir;

namespace otodus {
namespace {

/// A function argument that is a weight or a state of a layer.
struct Parameter {
  std::string name; ///< without the layer's prefix
  RankedTensorType type;
};

class ModelBuilder {
public:
  ModelBuilder(MLIRContext &context, const formats::ModelConfig &config, bool bf16, bool training,
               std::set<std::string> tensors)
      : config(config), training(training), b(&context), tensors(std::move(tensors)),
        element(bf16 ? Type(b.getBF16Type()) : Type(b.getF32Type())) {}

  OwningOpRef<ModuleOp> build() {
    module = ModuleOp::create(b.getUnknownLoc());
    b.setInsertionPointToEnd(module->getBody());
    declareWeights();
    buildLayer("layer", false);
    if (training) {
      bool dropout = config.dropout > 0 || config.hidden_dropout > 0;
      buildModel("loss", Head::Loss, false, /*differentiate=*/!dropout);
      if (dropout) {
        buildLayer("layer_with_dropout", true);
        buildModel("loss_with_dropout", Head::Loss, true, /*differentiate=*/true);
      }
      buildOptimizer();
      return std::move(module);
    }
    buildModel("forward", Head::All);
    buildModel("prefill", Head::Last);
    return std::move(module);
  }

private:
  static constexpr int64_t kAny = ShapedType::kDynamic;

  //===--------------------------------------------------------------------===//
  // Types
  //===--------------------------------------------------------------------===//

  RankedTensorType f32(ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, b.getF32Type());
  }
  RankedTensorType matrix(int64_t n, int64_t k) { return RankedTensorType::get({n, k}, element); }
  RankedTensorType activation(ArrayRef<int64_t> trailing) {
    SmallVector<int64_t> shape{kAny, kAny};
    llvm::append_range(shape, trailing);
    return RankedTensorType::get(shape, element);
  }
  RankedTensorType positionType() { return RankedTensorType::get({kAny}, b.getI64Type()); }
  RankedTensorType stepsType() { return RankedTensorType::get({kAny, kAny}, b.getI32Type()); }
  RankedTensorType noiseType() { return RankedTensorType::get({4}, b.getI32Type()); }
  RankedTensorType anglesType() { return f32({kAny, kAny, 2, config.dz()}); }
  Location named(StringRef name) { return NameLoc::get(b.getStringAttr(name)); }

  //===--------------------------------------------------------------------===//
  // Weights and states
  //===--------------------------------------------------------------------===//

  std::vector<Parameter> layerWeights() {
    int64_t D = config.model_dim, Z = config.z_dim, E = config.value_dim, N = config.cema_ndim,
            F = config.ffn_hidden_dim;
    std::vector<Parameter> list = {
        {"mega.timenorm.weight", f32({D})},    {"mega.timenorm.bias", f32({D})},
        {"mega.cema.alpha", f32({D, N, 1})},   {"mega.cema.delta", f32({D, N, 1})},
        {"mega.cema.theta", f32({D, 1, 1})},   {"mega.cema.gamma", f32({D, N, 2})},
        {"mega.cema.omega", f32({D, 1})},
    };
    if (config.norm_affine)
      list.push_back({"mega.rmsnorm.weight", f32({D})});
    std::vector<Parameter> rest = {
        {"mega.wv.weight", matrix(E, D)},  {"mega.wv.bias", f32({E})},
        {"mega.wz.weight", matrix(Z, D)},  {"mega.wz.bias", f32({Z})},
        {"mega.wr.weight", matrix(E, D)},  {"mega.wr.bias", f32({E})},
        {"mega.wh1.weight", matrix(D, D)}, {"mega.wh1.bias", f32({D})},
        {"mega.wh2.weight", matrix(D, E)}, {"mega.gamma", f32({2, Z})},
        {"mega.beta", f32({2, Z})},
    };
    list.insert(list.end(), rest.begin(), rest.end());
    if (config.norm_affine) {
      list.push_back({"nffn.norm.weight", f32({D})});
      list.push_back({"nffn.norm.bias", f32({D})});
    }
    list.push_back({"nffn.fc1.weight", matrix(F, D)});
    if (config.swiglu)
      list.push_back({"nffn.fc3.weight", matrix(F, D)});
    list.push_back({"nffn.fc2.weight", matrix(D, F)});
    if (config.rescale_nffn)
      list.push_back({"nffn.alpha", f32({D})});
    return list;
  }

  std::vector<Parameter> normStates(const std::string &prefix) {
    return {{prefix + "count", positionType()},
            {prefix + "mean", f32({kAny, config.norm_num_groups})},
            {prefix + "variance", f32({kAny, config.norm_num_groups})}};
  }

  std::vector<Parameter> layerStates() {
    std::vector<Parameter> list = normStates("mega.timenorm.");
    int64_t C = config.chunk_size, H = config.num_heads;
    list.push_back({"mega.cema.h", f32({kAny, config.model_dim, config.cema_ndim, 2})});
    list.push_back({"mega.attention.keys",
                    RankedTensorType::get({kAny, C, H, config.dz()}, element)});
    list.push_back({"mega.attention.values",
                    RankedTensorType::get({kAny, C, H, config.dv()}, element)});
    return list;
  }

  static std::string layerPrefix(int64_t i) { return "layers." + std::to_string(i) + "."; }

  void declareWeights() {
    auto declare = [&](const std::string &name, RankedTensorType type, StringRef source = {}) {
      mega::WeightOp::create(b, named(name), name, type, source);
    };
    declare("embed.weight", matrix(config.vocab_size, config.model_dim));
    // A checkpoint may carry the frequencies; otherwise they follow from the base.
    std::string base = "rope(" + std::to_string(config.ropeBase()) + ")";
    declare("rope.freqs", f32({config.dz() / 2}),
            tensors.count("rope.freqs") ? StringRef() : StringRef(base));
    for (int64_t i = 0; i < config.num_layers; ++i)
      for (const Parameter &weight : layerWeights())
        declare(layerPrefix(i) + weight.name, weight.type);
    declare("output.final_norm.weight", f32({config.model_dim}));
    declare("output.final_norm.bias", f32({config.model_dim}));
    if (!config.share_emb)
      declare("output.output.weight", matrix(config.outputSize(), config.model_dim));
  }

  Value use(const std::string &name) {
    auto weight = module->lookupSymbol<mega::WeightOp>(name);
    return mega::UseWeightOp::create(b, named(name), weight);
  }

  //===--------------------------------------------------------------------===//
  // One block (spec 4)
  //===--------------------------------------------------------------------===//

  /// What dropout needs, null without it.
  struct Noise {
    Value rowNumbers, words;
  };
  /// Places of masks (mega.dropout). Of the model: the embeddings; of a layer the others.
  enum Place : int64_t { kEmbeddings = 0, kNormed = 0, kGate, kAttended, kHidden, kFed };

  Value dropout(StringRef name, Value x, double p, Place place, const Noise &noise) {
    if (!noise.words || p == 0)
      return x;
    return mega::DropoutOp::create(b, named(name), x.getType(), x, noise.rowNumbers, noise.words,
                                   b.getF64FloatAttr(p), b.getI64IntegerAttr(place));
  }

  void buildLayer(StringRef layerName, bool withDropout) {
    int64_t D = config.model_dim, H = config.num_heads, F = config.ffn_hidden_dim;
    std::vector<Parameter> weights = layerWeights(), states = layerStates();
    SmallVector<Type> inputs{activation({D}), anglesType(), positionType()};
    if (withDropout)
      inputs.append({stepsType(), noiseType()});
    unsigned firstWeight = inputs.size();
    SmallVector<Type> outputs{activation({D})};
    for (const Parameter &p : weights)
      inputs.push_back(p.type);
    for (const Parameter &p : states) {
      inputs.push_back(p.type);
      outputs.push_back(p.type);
    }
    auto layer = func::FuncOp::create(b, named(layerName), layerName,
                                      b.getFunctionType(inputs, outputs));
    layer.setPrivate();
    OpBuilder::InsertionGuard guard(b);
    Block *body = layer.addEntryBlock();
    b.setInsertionPointToStart(body);

    std::map<std::string, Value> at;
    unsigned next = firstWeight;
    Noise noise;
    if (withDropout)
      noise = {body->getArgument(3), body->getArgument(4)};
    for (const auto *list : {&weights, &states})
      for (const Parameter &p : *list) {
        layer.setArgAttr(next, "mega.name", b.getStringAttr(p.name));
        at[p.name] = body->getArgument(next++);
      }
    auto optional = [&](const std::string &name) {
      auto found = at.find(name);
      return found == at.end() ? Value() : found->second;
    };
    Value x = body->getArgument(0), angles = body->getArgument(1), position = body->getArgument(2);
    auto linear = [&](StringRef name, Value in, const std::string &weight, Type type,
                      Value bias = {}) -> Value {
      return mega::LinearOp::create(b, named(name), type, in, at.at(weight), bias);
    };
    auto silu = [&](StringRef name, Value in) -> Value {
      return mega::SiluOp::create(b, named(name), in.getType(), in);
    };

    double eps = config.norm_eps;
    auto norm = mega::TimestepNormOp::create(
        b, named("timenorm"), x, at.at("mega.timenorm.weight"), at.at("mega.timenorm.bias"),
        at.at("mega.timenorm.count"), at.at("mega.timenorm.mean"), at.at("mega.timenorm.variance"),
        Value(), config.norm_num_groups, eps);
    Value xn = norm.getOutput();
    auto cema = mega::CemaOp::create(
        b, named("timenorm_cema"), TypeRange{xn.getType(), at.at("mega.cema.h").getType()}, xn,
        at.at("mega.cema.alpha"), at.at("mega.cema.delta"), at.at("mega.cema.theta"),
        at.at("mega.cema.gamma"), at.at("mega.cema.omega"), at.at("mega.cema.h"));
    Value mx = mega::RmsNormOp::create(b, named("rmsnorm"), cema.getOutput(),
                                       optional("mega.rmsnorm.weight"), Value(), eps);
    mx = dropout("rmsnorm", mx, config.hidden_dropout, kNormed, noise);

    Type heads = activation({H, config.dv()});
    Value v = silu("v", linear("v", xn, "mega.wv.weight", heads, at.at("mega.wv.bias")));
    Value z = linear("z", mx, "mega.wz.weight", activation({H, config.dz()}),
                     at.at("mega.wz.bias"));
    double scale = 1.0 / std::sqrt(double(config.dz()));
    auto row = [&](const std::string &weight, int64_t i) -> Value { // 0: queries, 1: keys
      SmallVector<OpFoldResult> offsets{b.getIndexAttr(i), b.getIndexAttr(0)},
          sizes{b.getIndexAttr(1), b.getIndexAttr(config.z_dim)},
          strides{b.getIndexAttr(1), b.getIndexAttr(1)};
      return tensor::ExtractSliceOp::create(b, named(weight), f32({config.z_dim}), at.at(weight),
                                            offsets, sizes, strides);
    };
    Value q = mega::RmsNormOp::create(b, named("q"), z, row("mega.gamma", 0), row("mega.beta", 0),
                                      eps, scale);
    Value k = mega::RmsNormOp::create(b, named("k"), z, row("mega.gamma", 1), row("mega.beta", 1),
                                      eps, scale);
    auto rotated = mega::RotateOp::create(b, named("z_qk"), TypeRange{q.getType(), k.getType()},
                                          q, k, angles);
    auto attention = mega::ChunkAttentionOp::create(
        b, named("attention"),
        TypeRange{heads, at.at("mega.attention.keys").getType(),
                  at.at("mega.attention.values").getType()},
        rotated.getNewQuery(), rotated.getNewKey(), v, at.at("mega.attention.keys"),
        at.at("mega.attention.values"), position, b.getI64IntegerAttr(config.chunk_size));
    Value r = silu("r", linear("r", mx, "mega.wr.weight", heads, at.at("mega.wr.bias")));
    // Of o ∘ r: the mask may stand at either factor, and r comes from a product.
    r = dropout("r", r, config.hidden_dropout, kGate, noise);
    Value gated = arith::MulFOp::create(b, named("r_gate"), attention.getOutput(), r);

    Type flat = activation({D});
    Value h1 = linear("h", mx, "mega.wh1.weight", flat, at.at("mega.wh1.bias"));
    Value h2 = linear("h", gated, "mega.wh2.weight", flat);
    Value hh = arith::AddFOp::create(b, named("h"), h1, h2);
    hh = dropout("h", hh, config.dropout, kAttended, noise);
    Value y1 = arith::AddFOp::create(b, named("h"), x, hh);

    Value f = mega::LayerNormOp::create(b, named("norm"), y1, optional("nffn.norm.weight"),
                                        optional("nffn.norm.bias"), eps);
    Type hidden = activation({F});
    Value u = silu("up", linear("up", f, "nffn.fc1.weight", hidden));
    if (config.swiglu)
      u = arith::MulFOp::create(b, named("up"), u, linear("up", f, "nffn.fc3.weight", hidden));
    u = dropout("up", u, config.hidden_dropout, kHidden, noise);
    Value down = linear("down", u, "nffn.fc2.weight", flat);
    down = dropout("down", down, config.dropout, kFed, noise);
    if (config.rescale_nffn)
      down = mega::ScaleOp::create(b, named("down"), down.getType(), down, at.at("nffn.alpha"));
    Value out = arith::AddFOp::create(b, named("down"), x, down);

    func::ReturnOp::create(b, layer.getLoc(),
                           ValueRange{out, norm.getNewCount(), norm.getNewMean(),
                                      norm.getNewVariance(), cema.getNewState(),
                                      attention.getNewKeys(), attention.getNewValues()});
  }

  //===--------------------------------------------------------------------===//
  // The model (spec 4)
  //===--------------------------------------------------------------------===//

  /// What a fresh sequence has: the norm's prior where the checkpoint holds one (spec 3.1).
  void describeState(func::FuncOp function, unsigned argument, const std::string &name) {
    function.setArgAttr(argument, "mega.state", b.getStringAttr(name));
    auto prior = [&](StringRef suffix, const std::string &tensor, double initial, bool exponential) {
      StringRef stem = name;
      if (!stem.consume_back(suffix))
        return;
      if (initial != 0)
        function.setArgAttr(argument, "mega.initial", b.getF64FloatAttr(initial));
      std::string source = stem.str() + tensor;
      if (!tensors.count(source))
        return;
      function.setArgAttr(argument, "mega.initial_from", b.getStringAttr(source));
      if (exponential)
        function.setArgAttr(argument, "mega.initial_exp", b.getUnitAttr());
    };
    prior("count", "prior_count", 0, false);
    prior("mean", "prior_mean", 0, false);
    prior("variance", "prior_logv", 1, true);
  }

  /// What a function of the whole model computes: logits of every step or of the last, or the
  /// negative log-likelihoods of targets.
  enum class Head { All, Last, Loss };

  void buildModel(StringRef name, Head kind, bool withDropout = false, bool differentiate = false) {
    bool lastOnly = kind == Head::Last, loss = kind == Head::Loss;
    int64_t D = config.model_dim;
    std::vector<Parameter> states;
    for (int64_t i = 0; i < config.num_layers; ++i)
      for (Parameter p : layerStates())
        states.push_back({layerPrefix(i) + p.name, p.type});
    std::vector<Parameter> finalStates = normStates("output.final_norm.");
    states.insert(states.end(), finalStates.begin(), finalStates.end());

    auto tokensType = RankedTensorType::get({kAny, kAny}, b.getI32Type());
    auto logitsType = loss ? f32({kAny, kAny}) : f32({kAny, lastOnly ? 1 : kAny, config.outputSize()});
    SmallVector<Type> inputs{tokensType, positionType()}, outputs{logitsType};
    if (loss)
      inputs.push_back(tokensType);
    unsigned firstNoise = inputs.size() + 1;
    if (withDropout) {
      inputs.push_back(stepsType());
      inputs.append(config.num_layers + 1, noiseType());
    }
    unsigned firstState = inputs.size();
    for (const Parameter &p : states) {
      inputs.push_back(p.type);
      outputs.push_back(p.type);
    }
    auto function =
        func::FuncOp::create(b, named(name), name, b.getFunctionType(inputs, outputs));
    function.setArgAttr(0, "mega.name", b.getStringAttr("tokens"));
    function.setArgAttr(1, "mega.position", b.getUnitAttr());
    function.setResultAttr(0, "mega.name", b.getStringAttr(loss ? "nll" : "logits"));
    if (loss) {
      function.setArgAttr(2, "mega.name", b.getStringAttr("targets"));
      if (differentiate)
        function->setAttr("mega.differentiate", b.getStringAttr("gradients"));
    }
    if (withDropout) {
      function.setArgAttr(firstNoise - 1, "mega.name", b.getStringAttr("row_numbers"));
      for (int64_t i = 0; i <= config.num_layers; ++i)
        function.setArgAttr(firstNoise + i, "mega.noise", b.getI64IntegerAttr(i));
    }
    for (auto [i, p] : llvm::enumerate(states)) {
      describeState(function, firstState + i, p.name);
      function.setResultAttr(1 + i, "mega.state", b.getStringAttr(p.name));
    }

    OpBuilder::InsertionGuard guard(b);
    Block *body = function.addEntryBlock();
    b.setInsertionPointToStart(body);
    Value tokens = body->getArgument(0), position = body->getArgument(1);
    Value x = mega::EmbedOp::create(b, named("embed"), activation({D}), tokens,
                                    use("embed.weight"),
                                    config.scale_emb ? std::sqrt(double(D)) : 1.0);
    auto noiseOf = [&](int64_t call) -> Noise {
      if (!withDropout)
        return {};
      return {body->getArgument(firstNoise - 1), body->getArgument(firstNoise + call)};
    };
    x = dropout("embed", x, config.dropout, kEmbeddings, noiseOf(0));
    StringRef layer = withDropout ? "layer_with_dropout" : "layer";
    Value angles =
        mega::RotaryAnglesOp::create(b, named("angles"), anglesType(), use("rope.freqs"), position,
                                     tokens, b.getI64IntegerAttr(config.chunk_size));
    SmallVector<Value> results;
    unsigned state = firstState;
    for (int64_t i = 0; i < config.num_layers; ++i) {
      SmallVector<Value> operands{x, angles, position};
      if (withDropout)
        operands.append({noiseOf(i + 1).rowNumbers, noiseOf(i + 1).words});
      for (const Parameter &p : layerWeights())
        operands.push_back(use(layerPrefix(i) + p.name));
      for (size_t s = 0; s < layerStates().size(); ++s)
        operands.push_back(body->getArgument(state++));
      auto call = func::CallOp::create(b, named("layer"),
                                       module->lookupSymbol<func::FuncOp>(layer), operands);
      x = call.getResult(0);
      llvm::append_range(results, call.getResults().drop_front());
    }
    auto norm = mega::TimestepNormOp::create(
        b, named("final_norm"), x, use("output.final_norm.weight"), use("output.final_norm.bias"),
        body->getArgument(state), body->getArgument(state + 1), body->getArgument(state + 2),
        Value(), config.norm_num_groups, config.norm_eps);
    Value y = norm.getOutput();
    if (lastOnly) {
      auto last = RankedTensorType::get({kAny, 1, D}, element);
      y = mega::LastOp::create(b, named("last"), last, y);
    }
    Value head = use(config.share_emb ? "embed.weight" : "output.output.weight");
    Value logits;
    if (loss)
      logits = mega::LinearCrossEntropyOp::create(b, named("loss"), TypeRange{logitsType, logitsType},
                                                  y, head, body->getArgument(2))
                   .getNll();
    else
      logits = mega::LinearOp::create(b, named("logits"), logitsType, y, head, Value());
    results.insert(results.begin(), logits);
    results.append({norm.getNewCount(), norm.getNewMean(), norm.getNewVariance()});
    func::ReturnOp::create(b, function.getLoc(), results);
  }

  //===--------------------------------------------------------------------===//
  // The optimizer (spec 6), over arenas of all parameters
  //===--------------------------------------------------------------------===//

  void buildOptimizer() {
    // Places are handed out by lib/Codegen/Common/HostPlan.cpp by the same rule.
    int64_t elements = 0;
    for (auto weight : module->getOps<mega::WeightOp>())
      if (weight.getSymName() != "rope.freqs")
        elements += llvm::alignTo(weight.getTensorType().getNumElements(), 16);
    elements = llvm::alignTo(elements, 1024);
    RankedTensorType arena = f32({elements}), squares = f32({elements / 1024}), scalars = f32({16});
    auto function = [&](StringRef name, ArrayRef<std::pair<Type, int64_t>> arguments,
                        unsigned tied) {
      SmallVector<Type> types;
      for (auto [type, number] : arguments)
        types.push_back(type);
      auto made = func::FuncOp::create(
          b, named(name), name,
          b.getFunctionType(types, ArrayRef<Type>(types).take_back(tied)));
      for (auto [i, argument] : llvm::enumerate(arguments)) {
        Attribute attribute = b.getI64IntegerAttr(argument.second);
        made.setArgAttr(i, argument.second < 0 ? "mega.scalars" : "mega.arena",
                        argument.second < 0 ? Attribute(b.getUnitAttr()) : attribute);
        if (i + tied >= arguments.size())
          made.setResultAttr(i + tied - arguments.size(), "mega.arena", attribute);
      }
      return made;
    };
    auto fill = [&](func::FuncOp made, auto build) {
      OpBuilder::InsertionGuard guard(b);
      Block *body = made.addEntryBlock();
      b.setInsertionPointToStart(body);
      func::ReturnOp::create(b, made.getLoc(), build(body->getArguments())->getResults());
    };
    fill(function("norm", {{arena, 1}, {squares, 4}}, 1), [&](ValueRange in) -> Operation * {
      return mega::SquaresOp::create(b, named("norm"), TypeRange{squares}, in);
    });
    fill(function("adamw", {{arena, 1}, {scalars, -1}, {arena, 0}, {arena, 2}, {arena, 3}}, 3),
         [&](ValueRange in) -> Operation * {
           return mega::AdamWOp::create(b, named("adamw"), TypeRange{arena, arena, arena}, in);
         });
  }

  const formats::ModelConfig &config;
  bool training;
  OpBuilder b;
  std::set<std::string> tensors;
  Type element;
  OwningOpRef<ModuleOp> module;
};

} // namespace

Result<OwningOpRef<ModuleOp>> importModel(MLIRContext &context, const formats::ModelConfig &config,
                                          const ImportOptions &options) {
  if (options.dtype != "f32" && options.dtype != "bf16")
    return Status(Code::Usage, "unknown dtype '" + options.dtype + "'; there are f32 and bf16");
  std::set<std::string> tensors(options.tensors.begin(), options.tensors.end());
  if (tensors.empty() && !options.weightsFile.empty()) {
    auto file = formats::SafetensorsFile::open(options.weightsFile);
    if (!file.isOk())
      return file.status();
    for (const formats::Tensor &tensor : file->tensors())
      tensors.insert(tensor.name);
  }
  context.loadDialect<mega::MegaDialect, func::FuncDialect, arith::ArithDialect, tensor::TensorDialect>();
  OwningOpRef<ModuleOp> module =
      ModelBuilder(context, config, options.dtype == "bf16", options.training,
                   std::move(tensors))
          .build();
  Builder b(&context);
  (*module)->setAttr("mega.dtype", b.getStringAttr(options.dtype));
  (*module)->setAttr("mega.config", b.getStringAttr(config.toJson()));
  if (!options.weightsFile.empty())
    (*module)->setAttr("mega.weights", b.getStringAttr(options.weightsFile));
  return module;
}

} // namespace otodus
