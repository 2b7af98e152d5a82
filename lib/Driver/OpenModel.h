//===- OpenModel.h - From what the user names to something that runs -------===//
//
// MODEL on the command line is a directory (config.json + model.safetensors), a
// .mlir file or "-", an artefact (.oto), or random:PRESET. Here is the one place that knows. No MLIR
// in this header: the commands are compiled with exceptions, the compiler is not.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Model.h"
#include "otodus/Runtime/Session.h"
#include "otodus/Runtime/ThreadPool.h"
#include "otodus/Target/Ptxas.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace otodus::driver {

/// Flags that mean the same wherever a model is compiled or runs.
struct ModelFlags {
  std::string target = "cpu"; ///< cpu[:native|x86-64-v3|x86-64-v4], [cuda:]CHIP, sim:CHIP
  std::string dtype;          ///< "f32", "bf16"; "": f32, or what an artefact has
  std::string checkpoint;     ///< safetensors file instead of the one the model names
  std::string tokenizer;      ///< SentencePiece model instead of the configuration's
  int threads = 0;            ///< 0: one per processor
  int device = 0;             ///< which GPU
  double deviceTimeout = 0;   ///< seconds, 0: none
  bool deviceCheck = false;   ///< wait for every kernel of a GPU
  std::string sim;            ///< how the simulator checks: runtime::DeviceOptions::sim
  int jobs = 0;               ///< kernels compiled at the same time; 0: one per processor
  std::string cacheDir;       ///< "": $XDG_CACHE_HOME/otodus or ~/.cache/otodus
  bool noCache = false;
  bool timing = false;
  bool training = false;      ///< openConfig: the functions of training, not those of inference
  std::string remarks;        ///< print remarks whose category matches
  std::string passPipeline;   ///< passes at the model stage, builtin.module(PASS,...)
  std::vector<std::string> plugins; ///< shared libraries with such passes
  std::string ptxas;          ///< NVIDIA's assembler; "": one that is found, "none": PTX only
  std::string chipFile;       ///< more rows of the chip table (JSON), "" for none
};

/// A model ready for sessions.
struct LoadedModel {
  std::shared_ptr<const runtime::Model> model;
  std::shared_ptr<runtime::ThreadPool> pool;
  /// Absent for a module without a configuration.
  std::optional<formats::ModelConfig> config;
  std::string folder;            ///< of the configuration, for the tokenizer's path
  bool fromCache = false;        ///< compiled by an earlier run
  double compileSeconds = 0;     ///< 0 if nothing was compiled
};

/// Loads, and where needed imports and compiles, `path`. Errors keep the codes of the
/// part that failed; diagnostics of the compiler have gone to stderr by then.
Result<LoadedModel> openModel(const std::string &path, const ModelFlags &flags);

/// The same of "random:PRESET[:SEED]": a model nobody trained, whose weights are made instead of
/// read. Nothing is cached. Code::Usage for another form.
Result<LoadedModel> openRandom(const std::string &path, const ModelFlags &flags);

/// Compiles a module given as text, or the model of a configuration, and opens it with
/// `weights`, which are read during the call only. Nothing is cached. `name` stands in
/// messages; `tensors` are the names that `weights` has.
Result<LoadedModel> openModuleText(const std::string &text, const std::string &name,
                                   runtime::WeightSource &weights, const ModelFlags &flags);
Result<LoadedModel> openConfig(const formats::ModelConfig &config, const std::string &name,
                               const std::vector<std::string> &tensors,
                               runtime::WeightSource &weights, const ModelFlags &flags);

/// Names of the compiled functions that take "tokens".
struct TokenFunctions {
  std::string last; ///< logits of the last step, [batch, 1, Vo]; "" if there is none
  std::string all;  ///< logits of every step, [batch, length, Vo]; "" if there is none
  std::string lastOutput, allOutput; ///< names of those outputs
  std::string sampling; ///< chooses the next token, output "token" [batch, 1, 1]; "" if there is none
  int64_t outputSize = 0;            ///< Vo
  int64_t vocabulary = 0;            ///< exclusive bound of token ids, 0 if unknown
};
/// Code::Input if the model has neither.
Result<TokenFunctions> findTokenFunctions(const runtime::Model &model, const std::string &path);

//===----------------------------------------------------------------------===//
// For `import` and `compile`
//===----------------------------------------------------------------------===//

/// mega IR of the model directory `path`. Checks configuration and checkpoint.
Result<std::string> importToText(const std::string &path, const std::string &dtype);
/// mega IR of a preset, whose weights no checkpoint has. Code::Usage for an unknown one.
Result<std::string> importPresetToText(const std::string &preset, const std::string &dtype);

struct CompileRequest {
  std::string model;                ///< as for openModel, but no artefact
  std::string preset;               ///< instead of `model`: a model without weights
  ModelFlags flags;                 ///< `target` is ignored
  std::vector<std::string> targets; ///< at least one
  std::string emit = "artefact";    ///< name of the last stage
  std::string from = "model";       ///< stage the .mlir file is at
  std::string saveStages;           ///< folder for one file per stage, "" for none
  bool resources = false;           ///< ask ptxas about each kernel of a GPU
};

struct Compiled {
  std::string text;           ///< IR or assembly, when `emit` is not "artefact"
  formats::Artefact artefact; ///< otherwise; code for all targets
  std::vector<KernelResources> resources; ///< of the last target
};
/// Code::Usage for an unknown stage name.
Result<Compiled> compileModel(const CompileRequest &request);

/// Names for --emit and --from, in order.
const std::vector<std::string> &stageNames();
/// "22.1.8"
std::string llvmVersion();

} // namespace otodus::driver
