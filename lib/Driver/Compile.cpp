//===- Compile.cpp - otodus compile ----------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Formats/Safetensors.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace otodus::driver {

namespace {
struct Options {
  CompileRequest request;
  std::string output, weights = "embed";
};

/// Makes a fresh value that stands in the checkpoint a constant, if all elements are equal
/// (they are 0 in every model of spec 3.1 without a prior).
Status foldInitial(formats::State &state, runtime::WeightSource &source) {
  if (state.initialFrom.empty())
    return Status::ok();
  Result<formats::Tensor> tensor = source.find(state.initialFrom);
  if (!tensor.isOk())
    return tensor.status();
  std::vector<double> values(static_cast<size_t>(tensor->elements()));
  OTODUS_RETURN_IF_ERROR(formats::readAsDouble(*tensor, 0, tensor->elements(), values.data()));
  for (double value : values)
    if (value != values.front()) {
      note("the artefact will need the checkpoint beside it: fresh states start from its '" +
           state.initialFrom + "'");
      return Status::ok();
    }
  if (!values.empty())
    state.initial = state.initialExp ? std::exp(values.front()) : values.front();
  state.initialFrom.clear();
  state.initialExp = false;
  return Status::ok();
}

Status run(Options options) {
  OTODUS_RETURN_IF_ERROR(checkChoice("--weights", options.weights, {"embed", "reference"}));
  CompileRequest &request = options.request;
  if (request.targets.empty())
    request.targets = {"cpu"};
  for (size_t i = 0; i < request.targets.size(); ++i)
    if (std::count(request.targets.begin(), request.targets.end(), request.targets[i]) > 1)
      return Status(Code::Usage, "--target=" + request.targets[i] + " is given twice");
  bool binary = request.emit == "artefact";
  if (binary && options.output.empty()) {
    std::filesystem::path model = std::filesystem::path(request.model).lexically_normal();
    if (!model.has_filename())
      model = model.parent_path();
    options.output = request.model == "-" ? "-" : model.stem().string() + ".oto";
  }

  Result<Compiled> compiled = compileModel(request);
  if (!compiled.isOk())
    return compiled.status();
  if (!binary)
    return writeOutput(options.output, compiled->text, request.emit == "cubin");

  formats::Artefact &artefact = compiled->artefact;
  formats::WeightSource embed;
  std::unique_ptr<runtime::WeightSource> source;
  runtime::ThreadPool pool;
  std::string checkpoint =
      request.flags.checkpoint.empty() ? artefact.weightsFile : request.flags.checkpoint;
  bool anyPrepared = std::any_of(artefact.programs.begin(), artefact.programs.end(),
                                 [](const formats::Program &p) { return !p.prepared.empty(); });
  if (options.weights == "embed" && anyPrepared && !checkpoint.empty()) {
    Result<std::unique_ptr<runtime::WeightSource>> opened = runtime::openWeights(checkpoint);
    if (!opened.isOk())
      return opened.status();
    source = std::move(*opened);
    // An artefact that carries its weights is to need no checkpoint for fresh states either.
    for (formats::Program &program : artefact.programs)
      for (formats::State &state : program.states)
        OTODUS_RETURN_IF_ERROR(foldInitial(state, *source));
    embed = [&](size_t program, size_t index, std::vector<uint8_t> &bytes) {
      const formats::Prepared &prepared = artefact.programs[program].prepared[index];
      int64_t size = formats::preparedBytes(prepared);
      // `prepare` wants 64-byte alignment, which a vector does not promise.
      auto *memory = static_cast<std::byte *>(
          std::aligned_alloc(64, static_cast<size_t>(size > 0 ? size : 64)));
      if (!memory)
        return Status(Code::Device, "out of memory while packing " + prepared.name);
      Status status = runtime::prepare(prepared, *source, pool, memory);
      if (status.isOk()) {
        auto *begin = reinterpret_cast<uint8_t *>(memory);
        bytes.assign(begin, begin + size);
      }
      std::free(memory);
      return status;
    };
  }
  if (options.output == "-") {
    Result<std::vector<uint8_t>> bytes = formats::writeArtefact(artefact, embed);
    if (!bytes.isOk())
      return bytes.status();
    return writeOutput("-", {reinterpret_cast<const char *>(bytes->data()), bytes->size()}, true);
  }
  OTODUS_RETURN_IF_ERROR(formats::writeArtefact(options.output, artefact, embed));
  std::error_code error;
  note(options.output + ": " +
       formatBytes(double(std::filesystem::file_size(options.output, error))));
  return Status::ok();
}
} // namespace

void addCompile(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CompileRequest &request = options->request;
  CLI::App *sub = app.add_subcommand("compile", "a model to an artefact, or to any stage before");
  sub->add_option("MODEL", request.model, "model directory, .mlir file, or - for stdin")->required();
  sub->add_option("--target", request.targets,
                  "cpu (default), cpu:x86-64-v4, sm_90a, sim:sm_90a ...; several for one artefact")
      ->delimiter(',')
      ->allow_extra_args(false);
  addCompileFlags(*sub, request.flags);
  sub->add_option("--emit", request.emit,
                  "last stage: model, fused, kernel, then llvm, asm (CPU) or gpu, nvvm, ptx, cubin (GPU), "
                  "or artefact (default)");
  sub->add_option("--from", request.from, "stage that the .mlir file is at (default: model)");
  sub->add_option("--save-stages", request.saveStages, "folder for one file per stage");
  sub->add_option("--weights", options->weights,
                  "weights inside the artefact: embed (default: one file to ship) or reference");
  sub->add_option("-o,--output", options->output,
                  "file; - is stdout (default: MODEL.oto, or stdout for text)");
  sub->footer("Examples:\n"
              "  otodus compile DIR -o model.oto\n"
              "  otodus compile DIR --target=cpu:x86-64-v3,cpu:x86-64-v4 -o model.oto\n"
              "  otodus compile DIR --emit=fused --remarks=fusion\n"
              "  otodus compile DIR --emit=fused | otodus compile - --from=fused --emit=llvm");
  sub->callback([options, &action] { action = [options] { return run(*options); }; });
}

} // namespace otodus::driver
