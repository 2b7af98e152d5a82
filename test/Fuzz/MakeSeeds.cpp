//===- MakeSeeds.cpp - What the fuzzers start from -------------------------===//
//
// make-fuzz-seeds FOLDER: writes valid small files of every format, from which libFuzzer
// mutates.
//
//===----------------------------------------------------------------------===//

#include "../Formats/SmallArtefact.h"
#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/OutputFile.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Formats/StateFile.h"

#include <cstdio>
#include <filesystem>

using namespace otodus;
using namespace otodus::formats;

namespace {
Status writeSeeds(const std::string &folder) {
  for (const char *name : {"safetensors", "config", "artefact", "state"})
    std::filesystem::create_directories(folder + "/" + name);

  const double data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  OTODUS_RETURN_IF_ERROR(writeSafetensors(folder + "/safetensors/empty", {}));
  OTODUS_RETURN_IF_ERROR(writeSafetensors(
      folder + "/safetensors/some",
      {{"count", TensorType::I64, {}, data},
       {"a", TensorType::F32, {2, 3}, data},
       {"half", TensorType::F16, {3}, data},
       {"brain", TensorType::BF16, {0, 3}, data},
       {"packed", TensorType::F4, {4}, data},
       {"flag", TensorType::Bool, {1}, data}},
      {{"format", "pt"}}));

  auto text = [&](const std::string &name, const std::string &content) {
    return writeFile(folder + "/config/" + name, content.data(), content.size());
  };
  for (const Preset &preset : presets())
    OTODUS_RETURN_IF_ERROR(text(preset.name, preset.config.toJson()));
  OTODUS_RETURN_IF_ERROR(text("bare", R"({"vocab_size": 7, "num_layers": 1})"));
  OTODUS_RETURN_IF_ERROR(text("broken", R"({"model": {"num_layer": -1, "z_dim": 1e9}})"));

  Artefact artefact = test::smallArtefact();
  Program &program = artefact.programs[0];
  program.code[0].blob.resize(128);
  program.code[0].textBytes = 128;
  OTODUS_RETURN_IF_ERROR(writeArtefact(folder + "/artefact/reference", artefact));
  program.prepared.resize(1);
  program.functions[0].buffers.erase(program.functions[0].buffers.begin());
  program.functions[0].launches[0].buffers = {0, 1};
  artefact.programs.resize(1);
  OTODUS_RETURN_IF_ERROR(writeArtefact(
      folder + "/artefact/embedded", artefact, [&](size_t at, size_t index, std::vector<uint8_t> &bytes) {
        return test::countingWeights(artefact, at, index, bytes);
      }));

  for (std::vector<int64_t> positions : {std::vector<int64_t>{}, {0}, {10, 7, 3}}) {
    StateFile state;
    state.modelHash = artefact.modelHash;
    state.dtype = "f32";
    state.chunk = 7;
    state.positions = positions;
    for (const char *layer : {"layers.0.", "layers.1."})
      for (bool open : {false, true}) {
        StateTensor tensor{layer + std::string(open ? "keys" : "h"), DType::F32,
                           open ? std::vector<int64_t>{7, 2} : std::vector<int64_t>{3}, open, {}};
        for (size_t b = 0; b < positions.size(); ++b)
          tensor.sequences.emplace_back(size_t(tensor.bytesFor(state.openCount(b))), uint8_t(b));
        state.states.push_back(tensor);
      }
    OTODUS_RETURN_IF_ERROR(
        writeStateFile(folder + "/state/" + std::to_string(positions.size()), state));
  }
  return Status::ok();
}
} // namespace

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make-fuzz-seeds FOLDER\n");
    return 2;
  }
  Status status = writeSeeds(argv[1]);
  if (!status.isOk())
    std::fprintf(stderr, "%s\n", status.message().c_str());
  return int(status.code());
}
