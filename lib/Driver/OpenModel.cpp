//===- OpenModel.cpp - From what the user names to something that runs -----===//

#include "OpenModel.h"

#include "ModelCompiler.h"
#include "Output.h"

#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Formats/OutputFile.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Pipelines/Compiler.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace otodus::driver {

std::string llvmVersion() { return LLVM_VERSION_STRING; }

const std::vector<std::string> &stageNames() {
  static const std::vector<std::string> names = {"model", "fused", "kernel", "gpu",   "nvvm",
                                                 "llvm",  "asm",   "ptx",    "cubin", "artefact"};
  return names;
}

namespace {

Result<Stage> stageOf(const char *flag, const std::string &name) {
  if (std::optional<Stage> stage = parseStage(name))
    return *stage;
  std::string message = std::string(flag) + " expects ";
  for (const std::string &known : stageNames())
    message += known + (&known == &stageNames().back() ? "" : ", ");
  message += ", but got '" + name + "'";
  if (std::string near = formats::nearestWord(name, stageNames()); !near.empty())
    message += "; did you mean " + near + "?";
  return Status(Code::Usage, message);
}

std::string print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  if (!text.empty() && text.back() != '\n')
    text += '\n';
  return text;
}

struct Directory {
  formats::ModelConfig config;
  std::string json;
  std::string weightsFile, weightsHash;

  /// What an artefact is to know of where it comes from.
  void describe(formats::Artefact &artefact) const {
    if (artefact.configJson.empty())
      artefact.configJson = json;
    if (artefact.weightsFile.empty())
      artefact.weightsFile = weightsFile;
    if (artefact.weightsHash.empty())
      artefact.weightsHash = weightsHash;
  }
};

/// Reads and checks configuration and checkpoint of a model directory.
Result<Directory> openDirectory(const std::string &path, const std::string &weights) {
  Directory directory;
  std::string file = (fs::path(path) / "config.json").string();
  std::error_code error;
  if (!fs::exists(file, error))
    return Status(Code::File, path + ": expected a model directory with config.json and "
                                     "model.safetensors, but there is no config.json");
  Result<formats::ModelConfig> config = formats::ModelConfig::load(file);
  if (!config.isOk())
    return config.status();
  directory.config = *config;
  directory.json = config->toJson();
  directory.weightsFile =
      weights.empty() ? (fs::path(path) / "model.safetensors").string() : weights;
  if (weights.empty() && !fs::exists(directory.weightsFile, error)) {
    std::string message = directory.weightsFile + ": no such file";
    for (const auto &entry : fs::directory_iterator(path, error))
      if (entry.path().extension() == ".pth")
        message += "; tools/dev/convert-pth.py makes it from " + entry.path().filename().string();
    return Status(Code::File, message);
  }
  Result<formats::SafetensorsFile> tensors = formats::SafetensorsFile::open(directory.weightsFile);
  if (!tensors.isOk())
    return tensors.status();
  OTODUS_RETURN_IF_ERROR(formats::checkTensors(directory.config, *tensors));
  directory.weightsHash = tensors->headerHash();
  directory.weightsFile = fs::absolute(directory.weightsFile, error).lexically_normal().string();
  return directory;
}

/// Changes with every build of this program: its file's size and time, and LLVM's version.
std::string buildId() {
  struct stat info = {};
  if (::stat("/proc/self/exe", &info) != 0)
    return LLVM_VERSION_STRING;
  return std::string(LLVM_VERSION_STRING) + " " + std::to_string(info.st_size) + " " +
         std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
}

/// "" if there is no place for one.
std::string cacheFolder(const ModelFlags &flags) {
  if (flags.noCache)
    return "";
  if (!flags.cacheDir.empty())
    return flags.cacheDir;
  if (const char *base = std::getenv("XDG_CACHE_HOME"); base && *base == '/')
    return std::string(base) + "/otodus";
  if (const char *home = std::getenv("HOME"); home && *home == '/')
    return std::string(home) + "/.cache/otodus";
  return "";
}

/// What "native" stands for on this machine; a cached artefact must not outlive a move.
std::string machineKey() {
  std::string text;
  if (std::FILE *file = std::fopen("/proc/cpuinfo", "r")) {
    char line[8192];
    while (std::fgets(line, sizeof line, file))
      if (std::string_view(line).starts_with("flags")) {
        text = line;
        break;
      }
    std::fclose(file);
  }
  return text;
}

enum class Kind { Directory, Module, Artefact };

Result<Kind> kindOf(const std::string &path) {
  if (path == "-")
    return Kind::Module;
  std::error_code error;
  fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    return Status(Code::File, path + ": no such file or directory; expected a model directory, a "
                                     ".mlir file or an artefact (.oto)");
  if (fs::is_directory(status))
    return Kind::Directory;
  if (fs::path(path).extension() == ".mlir")
    return Kind::Module;
  if (std::FILE *file = std::fopen(path.c_str(), "rb")) {
    uint8_t start[64];
    size_t count = std::fread(start, 1, sizeof start, file);
    std::fclose(file);
    if (formats::looksLikeArtefact(start, count) || fs::path(path).extension() == ".oto")
      return Kind::Artefact;
  }
  if (fs::path(path).filename() == "config.json" || fs::path(path).extension() == ".safetensors")
    return Status(Code::File, path + ": expected a model directory, a .mlir file or an artefact; "
                                     "name the directory that holds this file");
  return Status(Code::File, path + ": expected a model directory, a .mlir file or an artefact "
                                   "(.oto), but this is neither");
}

/// Imports and compiles, or finds the result of doing so in the cache.
Result<formats::Artefact> compileCached(const std::string &path, Kind kind,
                                        const std::optional<Directory> &directory,
                                        const ModelFlags &flags, LoadedModel &loaded) {
  auto start = std::chrono::steady_clock::now();
  Compiler compiler;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module = Status(Code::Internal, "no module");
  if (kind == Kind::Directory) {
    Result<std::string> dtype = checkDtype(flags.dtype);
    if (!dtype.isOk())
      return dtype.status();
    module = compiler.importDirectory(directory->config, *dtype, directory->weightsFile);
  } else {
    module = compiler.parse(path);
  }
  if (!module.isOk())
    return module.status();

  std::string folder = cacheFolder(flags), entry;
  if (!folder.empty()) {
    formats::Sha256 hash;
    hash.update(print(**module));
    for (const std::string &part : {flags.target, machineKey(), buildId(),
                                    std::to_string(formats::kArtefactVersion)}) {
      hash.update("\n--\n");
      hash.update(part);
    }
    hash.update("\n--\n" + flags.passPipeline + "\n--\n" + flags.ptxas);
    if (!flags.chipFile.empty()) {
      Result<std::string> rows = formats::readFile(flags.chipFile);
      if (!rows.isOk())
        return rows.status();
      hash.update("\n--\n" + *rows);
    }
    for (const std::string &plugin : flags.plugins) {
      Result<std::string> content = formats::readFile(plugin);
      if (!content.isOk())
        return content.status();
      hash.update("\n--\n" + plugin + "\n" + formats::sha256Hex(*content));
    }
    entry = folder + "/" + hash.hex() + ".oto";
    std::error_code error;
    // Remarks and times come from compiling, so a user who asks for them gets it done.
    if (fs::exists(entry, error) && flags.remarks.empty() && !flags.timing) {
      Result<formats::ArtefactFile> file = formats::ArtefactFile::open(entry);
      if (file.isOk()) {
        detail("compiled before: " + entry);
        loaded.fromCache = true;
        return file->artefact();
      }
      detail("compiling again: " + file.status().message());
    }
  }

  Result<formats::Artefact> artefact = compile(**module, compileOptions(flags, flags.target));
  if (!artefact.isOk())
    return artefact;
  loaded.compileSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!entry.empty()) {
    std::error_code error;
    fs::create_directories(folder, error);
    // A cache that cannot be written costs time on the next start, nothing else.
    if (Status status = formats::writeArtefact(entry, *artefact); !status.isOk())
      detail("the compiled model is not kept: " + status.message());
  }
  return artefact;
}

/// The checkpoint of a module: as recorded, or beside the module.
std::string findWeights(const std::string &recorded, const std::string &modulePath) {
  std::error_code error;
  if (recorded.empty() || fs::exists(recorded, error))
    return recorded;
  fs::path beside = fs::path(modulePath).parent_path() / recorded;
  return fs::exists(beside, error) ? beside.string() : recorded;
}

} // namespace

Result<LoadedModel> openModel(const std::string &path, const ModelFlags &given) {
  if (path.starts_with("random:"))
    return openRandom(path, given);
  Result<ModelFlags> resolved = resolveTarget(given);
  if (!resolved.isOk())
    return resolved.status();
  const ModelFlags &flags = *resolved;
  OTODUS_RETURN_IF_ERROR(addChipFile(flags));
  Result<Kind> kind = kindOf(path);
  if (!kind.isOk())
    return kind.status();
  if (Result<std::string> dtype = checkDtype(flags.dtype); !dtype.isOk())
    return dtype.status();

  LoadedModel loaded;
  runtime::ThreadPoolOptions poolOptions;
  poolOptions.threads = flags.threads;
  loaded.pool = std::make_shared<runtime::ThreadPool>(poolOptions);
  runtime::OpenOptions openOptions;
  openOptions.pool = loaded.pool;
  openOptions.sessions = 1;
  openOptions.device = deviceOptions(flags, flags.target);

  if (*kind == Kind::Artefact) {
    // The default leaves the choice to the artefact; a processor's level is chosen when compiling.
    if (flags.target == "cpu" || flags.target == "cpu:native")
      openOptions.device.target.clear();
    else if (flags.target.starts_with("cpu"))
      return Status(Code::Usage, "--target=" + flags.target + " chooses what to compile for, but " +
                                     path + " is compiled already; leave it out");
    if (!flags.passPipeline.empty() || !flags.plugins.empty())
      return Status(Code::Usage, "--pass-pipeline and --load-pass-plugin take part in compiling, "
                                 "but " + path + " is compiled already; leave them out");
    Result<std::shared_ptr<const runtime::Model>> model =
        runtime::Model::openFile(path, flags.checkpoint, openOptions);
    if (!model.isOk())
      return model.status();
    loaded.model = *model;
    const formats::Artefact &artefact = loaded.model->artefact();
    if (!flags.dtype.empty() && flags.dtype != artefact.dtype)
      return Status(Code::Usage, path + ": compiled for --dtype=" + artefact.dtype +
                                     ", but --dtype=" + flags.dtype +
                                     " was asked for; compile again");
    loaded.folder = fs::path(path).parent_path().string();
    if (!artefact.weightsFile.empty()) {
      std::error_code error;
      fs::path origin = fs::path(artefact.weightsFile).parent_path();
      if (fs::exists(origin / "config.json", error))
        loaded.folder = origin.string();
    }
  } else {
    std::optional<Directory> directory;
    if (*kind == Kind::Directory) {
      Result<Directory> opened = openDirectory(path, flags.checkpoint);
      if (!opened.isOk())
        return opened.status();
      directory = *opened;
      loaded.folder = path;
    } else {
      loaded.folder = path == "-" ? "." : fs::path(path).parent_path().string();
    }
    Result<formats::Artefact> artefact = compileCached(path, *kind, directory, flags, loaded);
    if (!artefact.isOk())
      return artefact.status();
    // What the compiler used goes back to the system before the weights come.
    malloc_trim(0);
    if (directory)
      directory->describe(*artefact);
    std::string weightsFile = !flags.checkpoint.empty() ? flags.checkpoint
                              : directory            ? directory->weightsFile
                                                     : findWeights(artefact->weightsFile, path);
    std::unique_ptr<runtime::WeightSource> weights;
    if (!weightsFile.empty()) {
      Result<std::unique_ptr<runtime::WeightSource>> opened = runtime::openWeights(weightsFile);
      if (!opened.isOk())
        return opened.status();
      weights = std::move(*opened);
    }
    Result<std::shared_ptr<const runtime::Model>> model =
        runtime::Model::open(std::move(*artefact), weights.get(), openOptions);
    if (!model.isOk())
      return model.status();
    loaded.model = *model;
  }

  const std::string &json = loaded.model->artefact().configJson;
  if (!json.empty()) {
    Result<formats::ModelConfig> config = formats::ModelConfig::parse(json, path);
    if (!config.isOk())
      return config.status();
    loaded.config = *config;
  }
  return loaded;
}

namespace {
Result<LoadedModel> compileAndOpen(Result<mlir::OwningOpRef<mlir::ModuleOp>> module,
                                   runtime::WeightSource &weights, const ModelFlags &given) {
  if (!module.isOk())
    return module.status();
  Result<ModelFlags> resolved = resolveTarget(given);
  if (!resolved.isOk())
    return resolved.status();
  const ModelFlags &flags = *resolved;
  OTODUS_RETURN_IF_ERROR(addChipFile(flags));
  Result<formats::Artefact> artefact = compile(**module, compileOptions(flags, flags.target));
  if (!artefact.isOk())
    return artefact.status();
  LoadedModel loaded;
  runtime::ThreadPoolOptions poolOptions;
  poolOptions.threads = flags.threads;
  loaded.pool = std::make_shared<runtime::ThreadPool>(poolOptions);
  runtime::OpenOptions openOptions;
  openOptions.pool = loaded.pool;
  openOptions.device = deviceOptions(flags, flags.target);
  Result<std::shared_ptr<const runtime::Model>> model =
      runtime::Model::open(std::move(*artefact), &weights, openOptions);
  if (!model.isOk())
    return model.status();
  loaded.model = *model;
  return loaded;
}
} // namespace

Result<LoadedModel> openModuleText(const std::string &text, const std::string &name,
                                   runtime::WeightSource &weights, const ModelFlags &flags) {
  Compiler compiler;
  return compileAndOpen(compiler.parseText(text, name), weights, flags);
}

Result<LoadedModel> openConfig(const formats::ModelConfig &config, const std::string &name,
                               const std::vector<std::string> &tensors,
                               runtime::WeightSource &weights, const ModelFlags &flags) {
  Result<std::string> dtype = checkDtype(flags.dtype);
  if (!dtype.isOk())
    return dtype.status();
  Compiler compiler;
  Result<LoadedModel> loaded =
      compileAndOpen(compiler.importDirectory(config, *dtype, "", tensors, flags.training), weights,
                     flags);
  if (loaded.isOk())
    loaded->config = config;
  return loaded;
}

Result<TokenFunctions> findTokenFunctions(const runtime::Model &model, const std::string &path) {
  TokenFunctions found;
  for (const formats::Function &function : model.program().functions) {
    const formats::Argument *tokens = nullptr;
    for (const formats::Argument &input : function.inputs)
      if (input.name == "tokens")
        tokens = &input;
    if (!tokens || function.outputs.empty())
      continue;
    for (const formats::Argument &output : function.outputs)
      if (output.name == "token" && output.dtype == formats::DType::I32 &&
          output.kind == formats::ArgumentKind::LastRows && output.width.logical() == 1 &&
          found.sampling.empty())
        found.sampling = function.name;
    const formats::Argument *logits = &function.outputs.front();
    for (const formats::Argument &output : function.outputs)
      if (output.name == "logits")
        logits = &output;
    if (logits->kind == formats::ArgumentKind::LastRows && found.last.empty()) {
      found.last = function.name;
      found.lastOutput = logits->name;
    } else if (logits->kind == formats::ArgumentKind::Rows && found.all.empty()) {
      found.all = function.name;
      found.allOutput = logits->name;
    } else {
      continue;
    }
    found.outputSize = logits->width.logical();
    found.vocabulary = tokens->bound;
  }
  if (found.last.empty() && found.all.empty())
    return Status(Code::Input, path + ": expected a function from 'tokens' to 'logits', but the "
                                      "model has none");
  return found;
}

//===----------------------------------------------------------------------===//
// import and compile
//===----------------------------------------------------------------------===//

Result<std::string> importToText(const std::string &path, const std::string &dtype) {
  Result<std::string> checked = checkDtype(dtype);
  if (!checked.isOk())
    return checked.status();
  Result<Directory> directory = openDirectory(path, "");
  if (!directory.isOk())
    return directory.status();
  Compiler compiler;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module =
      compiler.importDirectory(directory->config, *checked, directory->weightsFile);
  if (!module.isOk())
    return module.status();
  return print(**module);
}

Result<std::string> importPresetToText(const std::string &preset, const std::string &dtype) {
  Result<std::string> checked = checkDtype(dtype);
  if (!checked.isOk())
    return checked.status();
  Result<formats::ModelConfig> config = formats::findPreset(preset);
  if (!config.isOk())
    return config.status();
  Compiler compiler;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module =
      compiler.importDirectory(*config, *checked, "");
  if (!module.isOk())
    return module.status();
  return print(**module);
}

Result<Compiled> compileModel(const CompileRequest &request) {
  OTODUS_RETURN_IF_ERROR(addChipFile(request.flags));
  Result<Stage> stop = stageOf("--emit", request.emit);
  if (!stop.isOk())
    return stop.status();
  Result<Stage> from = stageOf("--from", request.from);
  if (!from.isOk())
    return from.status();
  if (*from >= Stage::Assembly)
    return Status(Code::Usage, "--from expects model, fused, kernel, gpu, nvvm or llvm, but got '" +
                                   request.from + "'");
  if (*stop < *from)
    return Status(Code::Usage, "--emit=" + request.emit + " comes before --from=" + request.from);
  Result<Kind> kind = request.preset.empty() ? kindOf(request.model) : Result<Kind>(Kind::Module);
  if (!kind.isOk())
    return kind.status();
  if (*kind == Kind::Artefact)
    return Status(Code::Usage, request.model + ": is compiled already; otodus inspect shows it");
  if (*kind == Kind::Directory && *from != Stage::Model)
    return Status(Code::Usage, "--from=" + request.from + " needs a .mlir file, but " +
                                   request.model + " is a model directory");
  if (request.targets.size() > 1 && *stop != Stage::Artefact)
    return Status(Code::Usage, "--emit=" + request.emit + " shows one target at a time");
  Result<std::string> dtype = checkDtype(request.flags.dtype);
  if (!dtype.isOk())
    return dtype.status();
  if (!request.saveStages.empty()) {
    std::error_code error;
    fs::create_directories(request.saveStages, error);
    if (!fs::is_directory(request.saveStages, error))
      return Status(Code::File, request.saveStages + ": expected a folder for the stages, but it "
                                                     "is none and cannot be made");
  }

  std::optional<Directory> directory;
  if (*kind == Kind::Directory) {
    Result<Directory> opened = openDirectory(request.model, request.flags.checkpoint);
    if (!opened.isOk())
      return opened.status();
    directory = *opened;
  }

  Compiled result;
  Compiler compiler;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module = Status(Code::Internal, "no module");
  if (!request.preset.empty()) {
    Result<formats::ModelConfig> config = formats::findPreset(request.preset);
    if (!config.isOk())
      return config.status();
    module = compiler.importDirectory(*config, *dtype, "", {}, request.flags.training);
  } else {
    module = directory ? compiler.importDirectory(directory->config, *dtype,
                                                  directory->weightsFile, {},
                                                  request.flags.training)
                       : compiler.parse(request.model);
  }
  if (!module.isOk())
    return module.status();

  for (const std::string &target : request.targets) {
    mlir::OwningOpRef<mlir::ModuleOp> copy = (*module)->clone();
    CompileOptions options = compileOptions(request.flags, target);
    options.from = *from;
    options.stopAfter = *stop;
    options.resources = request.resources ? &result.resources : nullptr;
    options.assembly = *stop > Stage::LLVM ? &result.text : nullptr;
    Status stageStatus;
    int saved = 0; // files are numbered as they come: targets pass different stages
    options.afterStage = [&](Stage stage, mlir::ModuleOp at) {
      if (stage == *stop)
        result.text = print(at);
      if (request.saveStages.empty() || !stageStatus.isOk())
        return;
      std::string name = std::to_string(saved++) + "-" +
                         stageNames()[static_cast<size_t>(stage)] + ".mlir";
      std::string text = stage == *stop ? result.text : print(at);
      stageStatus =
          formats::writeFile((fs::path(request.saveStages) / name).string(), text.data(), text.size());
    };
    // The stage a module comes in is passed through unchanged.
    if (*stop == *from && *stop != Stage::Artefact && options.modelPipeline.empty()) {
      options.afterStage(*stop, *copy);
      OTODUS_RETURN_IF_ERROR(stageStatus);
      return result;
    }
    Result<formats::Artefact> artefact = compile(*copy, options);
    if (!artefact.isOk())
      return artefact.status();
    OTODUS_RETURN_IF_ERROR(stageStatus);
    if (*stop != Stage::Artefact)
      return result;
    if (directory)
      directory->describe(*artefact);

    if (result.artefact.programs.empty())
      result.artefact = std::move(*artefact);
    else
      for (formats::Program &program : artefact->programs)
        result.artefact.add(std::move(program));
  }
  return result;
}

} // namespace otodus::driver
