//===- Explain.cpp - otodus explain ----------------------------------------===//
//
// What the compiler made of a model for a GPU, without one: resources as ptxas counts them, and
// the time that a launch must take at least by the counts of its work. Times are predictions:
//
//   max(bytes / (memory bandwidth * share), FLOP / (peak * busy))
//
// busy: the part of the SMs that have a block, over all waves of the grid. share: a few SMs draw
// more than their part of the bandwidth, about three times it.
//
//===----------------------------------------------------------------------===//

#include "BenchPlan.h"
#include "Commands.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Formats/Launches.h"
#include "otodus/Target/Ptxas.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace otodus::driver {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
  CompileRequest request;
  std::string format = "md", output;
  int64_t length = 4096;
};

/// Bytes of activations that the launch reads or writes, each once. One whose grid does not grow
/// with the rows looks at one row of each sequence.
int64_t activationBytes(const formats::Function &function, const formats::Launch &launch,
                        const formats::Variant &variant, const BenchCall &call) {
  bool all = launch.rowSymbol != formats::Symbol::Batch &&
             std::any_of(variant.grid.begin(), variant.grid.end(), [](const formats::Extent &extent) {
               return extent.symbol == formats::Symbol::Rows || extent.symbol == formats::Symbol::Length;
             });
  // Streams have a block per channels and walk along time.
  all |= std::any_of(launch.buffers.begin(), launch.buffers.end(), [&](int64_t index) {
    return function.buffers[size_t(index)].kind == formats::BufferKind::State;
  });
  int64_t bytes = 0, rows = all ? call.batch * call.length : call.batch;
  for (int64_t index : launch.buffers) {
    const formats::Buffer &buffer = function.buffers[size_t(index)];
    if (buffer.kind == formats::BufferKind::Scratch) {
      bytes += buffer.bytesPerRow * (buffer.symbol == formats::Symbol::Batch ? call.batch : rows);
    } else if (buffer.kind == formats::BufferKind::Input ||
               buffer.kind == formats::BufferKind::Output) {
      const formats::Argument &argument =
          (buffer.kind == formats::BufferKind::Input ? function.inputs
                                                     : function.outputs)[size_t(buffer.index)];
      int64_t width = argument.kind == formats::ArgumentKind::Steps ? 1 : argument.width.logical();
      bytes += width * formats::sizeOf(argument.dtype) *
               (argument.kind == formats::ArgumentKind::LastRows ? call.batch : rows);
    }
  }
  return bytes;
}

struct Explained {
  const Chip &chip;
  const formats::Program &program;
  std::map<std::string, KernelResources> resources;
  std::map<std::string, formats::Code::Entry> entries;
  bool bf16 = false;

  Json kernels() const {
    Json list = Json::array();
    for (const auto &[name, entry] : entries) {
      const KernelResources &r = resources.at(name);
      int64_t blocks = blocksPerSM(chip, entry.threads, r.registers, entry.sharedBytes + r.staticShared);
      list.push_back({{"name", name},
                      {"threads", entry.threads},
                      {"registers", r.registers},
                      {"shared", entry.sharedBytes + r.staticShared},
                      {"stack", r.stackBytes},
                      {"spill_stores", r.spillStores},
                      {"spill_loads", r.spillLoads},
                      {"blocks_per_sm", blocks},
                      {"occupancy", double(blocks * entry.threads / 32) / double(chip.warpsPerSM)}});
    }
    return list;
  }

  /// The launches of one call, those of all layers together.
  Json call(const formats::Function &function, const BenchCall &whole) const {
    Json kinds = Json::object();
    double total = 0;
    int64_t launches = 0, layers = 0, ofLayers = 0;
    std::vector<BenchCall> pieces = cutCall(whole, function.chunk, INT64_MAX);
    for (const BenchCall &piece : pieces) {
      std::vector<int> chosen = formats::chooseVariants(function, piece.batch, piece.length);
      for (size_t i = 0; i < function.launches.size(); ++i) {
        if (chosen[i] == formats::kLeftOut)
          continue;
        const formats::Launch &launch = function.launches[i];
        const formats::Variant &variant = launch.variants[size_t(chosen[i])];
        auto entry = entries.find(variant.entry);
        if (entry == entries.end())
          continue;
        const KernelResources &r = resources.at(variant.entry);
        LaunchWork work = workOf(program, function, launch, piece);
        int64_t bytes = work.weightBytes + work.stateBytes + activationBytes(function, launch, variant, piece);
        int64_t blocks = formats::itemsOf(variant, piece.batch, piece.length);
        int64_t atOnce = std::max<int64_t>(
            1, chip.multiprocessors * blocksPerSM(chip, entry->second.threads, r.registers,
                                                  entry->second.sharedBytes + r.staticShared));
        double peak = bf16 ? chip.bf16FlopsPerSecond : chip.f32FlopsPerSecond;
        // The share of the SMs that have a block, over all waves.
        double busy = blocks >= atOnce
                          ? double(blocks) / double((blocks + atOnce - 1) / atOnce * atOnce)
                          : std::min(1.0, double(blocks) / double(chip.multiprocessors));
        double share = std::min(1.0, 3 * double(blocks) / double(chip.multiprocessors));
        double seconds = std::max(double(bytes) / (chip.bytesPerSecond * share),
                                  double(work.flops) / (peak * busy));
        Json &kind = kinds[launchKind(launch.name)];
        if (kind.is_null())
          kind = {{"kernel", variant.entry}, {"launches", 0}, {"blocks", blocks},
                  {"flops", int64_t(0)},     {"bytes", int64_t(0)}, {"seconds", 0.0}};
        kind["launches"] = kind["launches"].get<int64_t>() + 1;
        kind["flops"] = kind["flops"].get<int64_t>() + work.flops;
        kind["bytes"] = kind["bytes"].get<int64_t>() + bytes;
        kind["seconds"] = kind["seconds"].get<double>() + seconds;
        total += seconds;
        ++launches;
      }
    }
    std::string first;
    std::vector<int> chosen =
        formats::chooseVariants(function, pieces.front().batch, pieces.front().length);
    for (size_t i = 0; i < function.launches.size(); ++i) {
      if (chosen[i] == formats::kLeftOut)
        continue;
      const formats::Launch &launch = function.launches[i];
      std::string kind = launchKind(launch.name);
      if (kind == launch.name)
        continue; // belongs to no layer
      ++ofLayers;
      std::string layer = launch.name.substr(0, launch.name.size() - kind.size());
      if (layer != first)
        ++layers;
      first = layer;
    }
    return {{"function", function.name},
            {"length", whole.length},
            {"position", whole.position},
            {"launches", launches},
            {"launches_per_layer", layers ? double(ofLayers) / double(layers) : 0.0},
            {"predicted_seconds", total},
            {"kinds", kinds}};
  }
};

Result<Json> explainTarget(const Options &options, const std::string &target) {
  CompileRequest request = options.request;
  request.targets = {target.starts_with("cuda:") ? target.substr(5) : target};
  request.resources = true;
  Result<Compiled> compiled = compileModel(request);
  if (!compiled.isOk())
    return compiled.status();
  Result<Chip> chip = chipFor(target);
  if (!chip.isOk())
    return chip.status();
  const formats::Program &program = compiled->artefact.programs.front();
  Explained explained{*chip, program, {}, {}, compiled->artefact.dtype == "bf16"};
  for (const KernelResources &r : compiled->resources)
    explained.resources[r.name] = r;
  for (const formats::Code::Entry &entry : program.code.front().entries) {
    if (!explained.resources.count(entry.name))
      return Status(Code::Internal, "ptxas says nothing about " + entry.name);
    explained.entries[entry.name] = entry;
  }
  Json calls = Json::array();
  for (const formats::Function &function : program.functions) {
    bool tokens = false, last = false;
    for (const formats::Argument &input : function.inputs)
      tokens |= input.name == "tokens";
    for (const formats::Argument &output : function.outputs)
      last |= output.kind == formats::ArgumentKind::LastRows;
    // A model's steps are @prefill's, and of training only resources are shown: what its kernels do
    // is not counted. Of a bare module all functions are shown.
    if ((tokens && !last) || options.request.flags.training)
      continue;
    calls.push_back(explained.call(function, {1, 0, options.length}));
    int64_t late = function.chunk > 0 ? function.chunk - 1 : options.length;
    calls.push_back(explained.call(function, {1, late, 1}));
  }
  return Json{{"chip", chip->name},
              {"product", chip->product},
              {"dtype", compiled->artefact.dtype},
              {"kernels", explained.kernels()},
              {"calls", calls}};
}

std::string number(double value, int digits) { return format("%.*f", digits, value); }

std::string table(const Json &chip) {
  std::string out = "## " + chip["chip"].get<std::string>() + " (" +
                    chip["product"].get<std::string>() + "), " + chip["dtype"].get<std::string>() +
                    "\n\n| kernel | threads | registers | shared bytes | stack | spills | blocks per SM "
                    "| occupancy |\n|---|--:|--:|--:|--:|--:|--:|--:|\n";
  for (const Json &k : chip["kernels"])
    out += format("| %s | %lld | %lld | %lld | %lld | %lld | %lld | %.0f %% |\n",
                  k["name"].get<std::string>().c_str(), k["threads"].get<long long>(),
                  k["registers"].get<long long>(), k["shared"].get<long long>(),
                  k["stack"].get<long long>(),
                  k["spill_stores"].get<long long>() + k["spill_loads"].get<long long>(),
                  k["blocks_per_sm"].get<long long>(), 100 * k["occupancy"].get<double>());
  for (const Json &call : chip["calls"]) {
    out += format("\n### %s, steps: %lld, position: %lld: predicted %s ms, %lld launches",
                  call["function"].get<std::string>().c_str(), call["length"].get<long long>(),
                  call["position"].get<long long>(),
                  number(1e3 * call["predicted_seconds"].get<double>(), 3).c_str(),
                  call["launches"].get<long long>());
    if (call["launches_per_layer"].get<double>() > 0)
      out += ", " + number(call["launches_per_layer"].get<double>(), 1) + " per layer";
    out += "\n\n| launch | kernel | launches | blocks | GFLOP | MB | predicted µs |\n"
           "|---|---|--:|--:|--:|--:|--:|\n";
    for (const auto &[name, kind] : call["kinds"].items())
      out += format("| %s | %s | %lld | %lld | %s | %s | %s |\n", name.c_str(),
                    kind["kernel"].get<std::string>().c_str(), kind["launches"].get<long long>(),
                    kind["blocks"].get<long long>(),
                    number(1e-9 * double(kind["flops"].get<int64_t>()), 3).c_str(),
                    number(1e-6 * double(kind["bytes"].get<int64_t>()), 3).c_str(),
                    number(1e6 * kind["seconds"].get<double>(), 2).c_str());
  }
  return out + "\n";
}

Status run(Options options) {
  OTODUS_RETURN_IF_ERROR(checkChoice("--format", options.format, {"md", "json"}));
  if (options.request.preset.empty() == options.request.model.empty())
    return Status(Code::Usage, "expected a model or --preset NAME");
  for (const std::string &target : options.request.targets) {
    // Rows of --chip-file are not known yet.
    if (target.starts_with("cpu") || isSimulated(target))
      return Status(Code::Usage, "--target=" + target + " has no kernels that ptxas compiles; "
                                                        "expected chips such as sm_90a");
  }
  Result<std::string> ptxas = findPtxas(options.request.flags.ptxas);
  if (!ptxas.isOk())
    return ptxas.status();
  if (ptxas->empty())
    return Status(Code::Target, "this table is what NVIDIA's ptxas says, which is not on PATH; "
                                "--ptxas=FILE names it");
  Result<std::string> version = ptxasVersion(*ptxas);
  if (!version.isOk())
    return version.status();
  Json all = {{"ptxas", *version}, {"chips", Json::array()}};
  for (const std::string &target : options.request.targets) {
    Result<Json> chip = explainTarget(options, target);
    if (!chip.isOk())
      return chip.status();
    all["chips"].push_back(std::move(*chip));
  }
  if (options.format == "json")
    return writeOutput(options.output, all.dump(1) + "\n");
  std::string out = "ptxas " + *version + ". Times are predicted from counts, not measured.\n\n";
  for (const Json &chip : all["chips"])
    out += table(chip);
  return writeOutput(options.output, out);
}

} // namespace

void addExplain(CLI::App &app, Action &action) {
  CLI::App *sub = app.add_subcommand("explain", "what the compiler made of a model");
  sub->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CompileRequest &request = options->request;
  CLI::App *kernels = sub->add_subcommand(
      "kernels", "per kernel of a GPU: registers, shared memory, spills, occupancy, predicted times");
  kernels->add_option("MODEL", request.model, "model directory or .mlir file");
  kernels->add_option("--preset", request.preset, "a model without weights: mega200M, mega7.3B ...");
  kernels->add_option("--target", request.targets, "chips, e.g. sm_80,sm_90a")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->required();
  addCompileFlags(*kernels, request.flags);
  kernels->add_flag("--training", request.flags.training,
                    "the functions of training instead of those of inference (f32)");
  kernels->add_option("--length", options->length, "steps of the prefill (default 4096)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30));
  kernels->add_option("--format", options->format, "md (default) or json");
  kernels->add_option("-o,--output", options->output, "file; - is stdout (default)");
  kernels->footer("Examples:\n"
                  "  otodus explain kernels --preset mega200M --dtype=bf16 --target=sm_80,sm_90a\n"
                  "  otodus explain kernels DIR --target=sm_90a --format=json");
  kernels->callback([options, &action] { action = [options] { return run(*options); }; });
  addExplainMemory(*sub, action);
}

} // namespace otodus::driver
