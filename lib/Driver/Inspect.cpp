//===- Inspect.cpp - otodus inspect ----------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "Output.h"

#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Formats/StateFile.h"

#include <cmath>
#include <filesystem>

namespace fs = std::filesystem;

namespace otodus::driver {

namespace {
struct Options {
  std::string path;
  bool verify = false;
};

const char *nameOf(formats::DType type) {
  switch (type) {
  case formats::DType::F32: return "f32";
  case formats::DType::BF16: return "bf16";
  case formats::DType::F64: return "f64";
  case formats::DType::I64: return "i64";
  case formats::DType::I32: return "i32";
  case formats::DType::Bool: return "bool";
  }
  return "?";
}

/// "  name   value"
std::string row(const std::string &name, const std::string &value) {
  return format("%-16s %s\n", name.c_str(), value.c_str());
}

const char *nameOf(formats::CodeKind kind) {
  switch (kind) {
  case formats::CodeKind::Host: return "machine code";
  case formats::CodeKind::Sim: return "simulator code";
  case formats::CodeKind::PTX: return "PTX";
  case formats::CodeKind::Cubin: return "cubin";
  }
  return "?";
}

void inspectProgram(const formats::ArtefactFile &file, size_t index, std::string &out) {
  const formats::Program &program = file.artefact().programs[index];
  if (file.artefact().programs.size() > 1)
    out += row("program", std::to_string(index + 1));
  for (const formats::Code &code : program.code) {
    std::string needs;
    for (const std::string &feature : code.features)
      needs += " " + feature;
    if (code.kind == formats::CodeKind::PTX)
      needs += format(" a driver for PTX %d.%d", int(code.ptxVersion / 10), int(code.ptxVersion % 10));
    out += row("code", format("%s: %s, %zu kernels, %s; needs%s", code.target.c_str(), nameOf(code.kind),
                              code.entries.size(), formatBytes(double(code.blob.size())).c_str(),
                              needs.empty() ? " nothing special" : needs.c_str()));
  }
  int64_t embedded = 0, embeddedBytes = 0, preparedBytes = 0;
  for (size_t i = 0; i < program.prepared.size(); ++i) {
    preparedBytes += formats::preparedBytes(program.prepared[i]);
    if (file.weight(index, i)) {
      ++embedded;
      embeddedBytes += formats::preparedBytes(program.prepared[i]);
    }
  }
  out += row("weights", format("%zu prepared, %s; %lld embedded, %s", program.prepared.size(),
                               formatBytes(double(preparedBytes)).c_str(), (long long)embedded,
                               formatBytes(double(embeddedBytes)).c_str()));
  int64_t stateBytes = 0;
  for (const formats::State &state : program.states)
    stateBytes += state.bytes();
  out += row("state", format("%zu tensors, %s for each sequence", program.states.size(),
                             formatBytes(double(stateBytes)).c_str()));
  for (const formats::Function &function : program.functions) {
    out += row("function", format("%s: %zu launches, %zu buffers%s", function.name.c_str(),
                                  function.launches.size(), function.buffers.size(),
                                  function.chunk ? format(", chunk %lld", (long long)function.chunk).c_str() : ""));
    auto arguments = [&](const char *kind, const std::vector<formats::Argument> &list) {
      for (const formats::Argument &argument : list) {
        std::string shape = argument.kind == formats::ArgumentKind::LastRows ? "[batch, 1" : "[batch, time";
        for (int64_t extent : argument.trailing)
          shape += ", " + std::to_string(extent);
        out += format("  %-6s %s %s %s]\n", kind, argument.name.c_str(), nameOf(argument.dtype), shape.c_str());
      }
    };
    arguments("in", function.inputs);
    arguments("out", function.outputs);
  }
}

Status inspectArtefact(const Options &options, std::string &out) {
  Result<formats::ArtefactFile> file = formats::ArtefactFile::open(options.path);
  if (!file.isOk())
    return file.status();
  const formats::Artefact &artefact = file->artefact();
  out += row("artefact", format("version %u, %s, made by %s", formats::kArtefactVersion,
                                formatBytes(double(file->size())).c_str(), artefact.producer.c_str()));
  out += row("model", artefact.modelHash.substr(0, 16) + "..., compute type " + artefact.dtype);
  if (!artefact.weightsFile.empty())
    out += row("weights from", artefact.weightsFile);
  for (size_t i = 0; i < artefact.programs.size(); ++i)
    inspectProgram(*file, i, out);
  if (options.verify) {
    OTODUS_RETURN_IF_ERROR(file->verifyWeights());
    out += row("checks", "header, plan, code and all embedded weights are intact");
  } else {
    out += row("checks", "header, plan and code are intact (--verify reads the weights too)");
  }
  return Status::ok();
}

Status inspectState(const Options &options, std::string &out) {
  Result<formats::StateFile> state = formats::readStateFile(options.path);
  if (!state.isOk())
    return state.status();
  std::error_code error;
  out += row("state", format("version %u, %s", formats::kStateVersion,
                             formatBytes(double(fs::file_size(options.path, error))).c_str()));
  out += row("model", state->modelHash.substr(0, 16) + "..., compute type " + state->dtype);
  std::string positions;
  for (size_t b = 0; b < state->positions.size(); ++b)
    positions += format("%s%lld (%lld in the open chunk)", b ? ", " : "", (long long)state->positions[b],
                        (long long)state->openCount(b));
  out += row("sequences", format("%zu, at position %s", state->positions.size(), positions.c_str()));
  if (state->chunk)
    out += row("chunk", std::to_string(state->chunk));
  for (const formats::StateTensor &tensor : state->states) {
    uint64_t bytes = 0;
    for (const std::vector<uint8_t> &sequence : tensor.sequences)
      bytes += sequence.size();
    out += format("  %-36s %-4s %-20s %s%s\n", tensor.name.c_str(), nameOf(tensor.dtype),
                  formats::shapeToString(tensor.shape).c_str(), formatBytes(double(bytes)).c_str(),
                  tensor.openChunk ? " (open chunk)" : "");
  }
  out += row("checks", "the checksum is right");
  return Status::ok();
}

Status inspectTensors(const std::string &path, const Options &options, std::string &out) {
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(path);
  if (!file.isOk())
    return file.status();
  int64_t elements = 0;
  for (const formats::Tensor &tensor : file->tensors())
    elements += tensor.elements();
  out += row("safetensors", format("%s, %zu tensors, %lld elements",
                                   formatBytes(double(file->size())).c_str(), file->tensors().size(),
                                   (long long)elements));
  for (const auto &[key, value] : file->metadata())
    out += row("metadata", key + " = " + value);
  for (const formats::Tensor &tensor : file->tensors())
    out += format("  %-44s %-5s %s\n", tensor.name.c_str(), formats::nameOf(tensor.type),
                  formats::shapeToString(tensor.shape).c_str());
  if (!options.verify)
    return Status::ok();
  std::vector<double> values;
  for (const formats::Tensor &tensor : file->tensors()) {
    for (int64_t begin = 0; begin < tensor.elements(); begin += 65536) {
      int64_t count = std::min<int64_t>(65536, tensor.elements() - begin);
      values.resize(static_cast<size_t>(count));
      if (!formats::readAsDouble(tensor, begin, count, values.data()).isOk())
        break; // not a type with numbers
      for (int64_t i = 0; i < count; ++i)
        if (!std::isfinite(values[i]))
          return Status(Code::Check, path + ": element " + std::to_string(begin + i) + " of '" +
                                         tensor.name + "' is not finite");
    }
    file->dropPages(tensor.name);
  }
  out += row("checks", "all numbers are finite");
  return Status::ok();
}

Status inspectDirectory(const Options &options, std::string &out) {
  Result<formats::ModelConfig> config =
      formats::ModelConfig::load((fs::path(options.path) / "config.json").string());
  if (!config.isOk())
    return config.status();
  const formats::ModelConfig &c = *config;
  auto number = [](int64_t value) { return std::to_string(value); };
  out += row("model", number(c.num_layers) + " layers, width " + number(c.model_dim) + ", " +
                          number(c.num_heads) + " heads (z " + number(c.z_dim) + ", value " +
                          number(c.value_dim) + "), ffn " + number(c.ffn_hidden_dim) +
                          (c.swiglu ? " swiglu" : "") + ", cema " + number(c.cema_ndim));
  out += row("vocabulary", number(c.vocab_size) + " in, " + number(c.outputSize()) + " out");
  out += row("chunk", number(c.chunk_size));
  out += row("parameters", number(c.parameterCount()));
  // Spec 5, with the open chunk full.
  for (int64_t bytes : {4, 2}) {
    int64_t most = c.num_layers * (c.chunk_size * (c.z_dim + c.value_dim) * bytes + 8 * c.model_dim * c.cema_ndim +
                                   8 * c.norm_num_groups + 16) +
                   8 * c.norm_num_groups + 8;
    out += row(bytes == 4 ? "state f32" : "state bf16", "at most " + formatBytes(double(most)) + " for each sequence");
  }
  out += row("tokenizer", c.tokenizer.path ? *c.tokenizer.path : "none: tokens are bytes");
  std::string weights = (fs::path(options.path) / "model.safetensors").string();
  OTODUS_RETURN_IF_ERROR(inspectTensors(weights, options, out));
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(weights);
  if (!file.isOk())
    return file.status();
  OTODUS_RETURN_IF_ERROR(formats::checkTensors(c, *file));
  out += row("checks", "all tensors the configuration wants are there, with the right shapes");
  return Status::ok();
}

Status inspect(const Options &options) {
  std::string out;
  std::error_code error;
  fs::file_status status = fs::status(options.path, error);
  if (!fs::exists(status))
    return Status(Code::File, options.path + ": no such file or directory");
  if (fs::is_directory(status)) {
    OTODUS_RETURN_IF_ERROR(inspectDirectory(options, out));
    return writeStdout(out);
  }
  uint8_t start[64];
  size_t count = 0;
  if (std::FILE *file = std::fopen(options.path.c_str(), "rb")) {
    count = std::fread(start, 1, sizeof start, file);
    std::fclose(file);
  }
  Status result = formats::looksLikeArtefact(start, count)  ? inspectArtefact(options, out)
                  : formats::looksLikeState(start, count)   ? inspectState(options, out)
                  : fs::path(options.path).extension() == ".oto" ? inspectArtefact(options, out)
                  : fs::path(options.path).extension() == ".state" ? inspectState(options, out)
                                                                   : inspectTensors(options.path, options, out);
  return result.isOk() ? writeStdout(out) : result;
}
} // namespace

void addInspect(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("inspect", "what is in an artefact, checkpoint or state file");
  sub->add_option("FILE", options->path, "artefact (.oto), state file, .safetensors or model directory")
      ->required();
  sub->add_flag("--verify", options->verify, "read everything: checksums of weights, numbers finite");
  sub->footer("Examples:\n"
              "  otodus inspect model.oto --verify\n"
              "  otodus inspect test/golden/tiny-megalodon");
  sub->callback([options, &action] { action = [options] { return inspect(*options); }; });
}

} // namespace otodus::driver
