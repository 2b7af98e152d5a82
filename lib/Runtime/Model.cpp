//===- Model.cpp - A compiled model, ready to run --------------------------===//

#include "otodus/Runtime/Model.h"
#include "MemoryPlan.h"
#include "StateLayout.h"
#include "otodus/Formats/ArtefactFile.h"

#include <cmath>
#include <cstring>
#include <filesystem>

#include <sys/mman.h>

namespace otodus::runtime {

using formats::Artefact;
using formats::ArtefactFile;
using formats::Program;

namespace {

/// The artefact's rules that formats::validate cannot know, since they need the image.
Status checkEntries(const Program &program, const Image &image) {
  for (const formats::Function &function : program.functions)
    for (const formats::Launch &launch : function.launches)
      for (const formats::Variant &variant : launch.variants)
        if (!image.find(variant.entry))
          return Status(Code::File, "function '" + function.name + "' launches kernel '" +
                                        variant.entry +
                                        "', which the code does not have; compile again");
  return Status::ok();
}

/// The fresh value of a state that a checkpoint tensor gives.
Result<std::vector<double>> initialValue(const formats::State &state, WeightSource &weights) {
  Result<formats::Tensor> tensor = weights.find(state.initialFrom);
  if (!tensor.isOk())
    return tensor.status();
  if (tensor->elements() != elementsOf(state))
    return Status(Code::File, weights.describe() + ": tensor '" + state.initialFrom +
                                  "' of shape " + formats::shapeToString(tensor->shape) + " has " +
                                  std::to_string(tensor->elements()) + " elements, but state '" +
                                  state.name + "' expects " + std::to_string(elementsOf(state)));
  std::vector<double> values(static_cast<size_t>(tensor->elements()));
  OTODUS_RETURN_IF_ERROR(formats::readAsDouble(*tensor, 0, tensor->elements(), values.data()));
  if (state.initialExp)
    for (double &value : values)
      value = std::exp(value);
  weights.release(state.initialFrom);
  return values;
}

/// Whether anything is to be read from a checkpoint, given which weights are embedded.
template <typename Embedded> bool needsTensors(const Program &program, Embedded embedded) {
  for (size_t i = 0; i < program.prepared.size(); ++i)
    if (!program.prepared[i].sources.empty() && !embedded(i))
      return true;
  for (const formats::State &state : program.states)
    if (!state.initialFrom.empty())
      return true;
  return false;
}

/// Where an artefact runs, and which of its code.
struct Place {
  std::shared_ptr<Device> device;
  CodeChoice choice;
};

Result<Place> findPlace(const Artefact &artefact, const OpenOptions &options) {
  DeviceOptions wanted = options.device;
  if (wanted.target.empty())
    wanted.target = defaultTarget(artefact);
  Result<std::shared_ptr<Device>> device =
      options.openDevice ? Result(options.openDevice) : openDevice(wanted);
  if (!device.isOk())
    return device.status();
  Result<CodeChoice> choice = chooseCode(artefact, **device, options.device.target);
  if (!choice.isOk())
    return choice.status();
  return Place{*device, *choice};
}

/// Where the checkpoint an artefact names may be: as recorded, or beside the artefact.
std::string findCheckpoint(const std::string &artefactPath, const std::string &recorded) {
  std::error_code error;
  if (std::filesystem::exists(recorded, error))
    return recorded;
  std::filesystem::path beside = std::filesystem::path(artefactPath).parent_path() /
                                 std::filesystem::path(recorded).filename();
  return std::filesystem::exists(beside, error) ? beside.string() : recorded;
}

} // namespace

Model::~Model() = default;

Result<std::shared_ptr<const Model>> Model::open(Artefact artefact, WeightSource *weights,
                                                 const OpenOptions &options) {
  std::shared_ptr<Model> model(new Model());
  model->keepAlive_ = options.keepAlive;
  if (options.image) {
    // Without code of its own an artefact cannot name entries of it; everything else
    // is checked when the entries are looked up.
    if (artefact.programs.empty())
      return Status(Code::File, "the artefact holds no program; compile it again");
    model->device_ = options.openDevice ? options.openDevice : cpuDevice();
    model->image_ = options.image;
    model->target_ = "native";
  } else {
    OTODUS_RETURN_IF_ERROR(formats::validate(artefact));
    Result<Place> place = findPlace(artefact, options);
    if (!place.isOk())
      return place.status();
    model->device_ = place->device;
    model->programIndex_ = place->choice.program;
    const formats::Code &code = artefact.programs[place->choice.program].code[place->choice.code];
    Result<std::shared_ptr<const Image>> image = model->device_->load(code);
    if (!image.isOk())
      return image.status();
    model->image_ = *image;
    model->target_ = code.target;
    // The image has its own copy.
    for (Program &other : artefact.programs)
      for (formats::Code &code : other.code)
        std::vector<uint8_t>().swap(code.blob);
  }
  const Program &program = artefact.programs[model->programIndex_];
  OTODUS_RETURN_IF_ERROR(checkEntries(program, *model->image_));
  std::vector<const std::byte *> embeddedWeights;
  if (model->programIndex_ < options.embedded.size())
    embeddedWeights = options.embedded[model->programIndex_];
  embeddedWeights.resize(program.prepared.size());

  OTODUS_RETURN_IF_ERROR(model->prepareWeights(program, embeddedWeights, weights, options));

  model->initial_.resize(program.states.size());
  for (size_t i = 0; i < program.states.size(); ++i) {
    const formats::State &state = program.states[i];
    if (state.initialFrom.empty())
      continue;
    if (!weights)
      return Status(Code::File, "state '" + state.name + "' starts as tensor '" +
                                    state.initialFrom + "', but no checkpoint was given");
    Result<std::vector<double>> values = initialValue(state, *weights);
    if (!values.isOk())
      return values.status();
    model->initial_[i] = std::move(*values);
  }

  for (size_t i = 0; i < program.functions.size(); ++i)
    model->functionIndex_[program.functions[i].name] = i;
  model->artefact_ = std::move(artefact);
  return std::shared_ptr<const Model>(std::move(model));
}

Status Model::prepareWeights(const Program &program, const std::vector<const std::byte *> &embedded,
                             WeightSource *weights, const OpenOptions &options) {
  const Device::Traits &traits = device_->traits();
  // One block for all weights: huge pages then cover all but its end.
  size_t count = program.prepared.size();
  std::vector<int64_t> offsets(count, -1);
  int64_t total = 0, largest = 0;
  prepared_.assign(count, nullptr);
  for (size_t i = 0; i < count; ++i) {
    int64_t bytes = formats::preparedBytes(program.prepared[i]);
    if (bytes < 0 || __builtin_add_overflow(weightBytes_, bytes, &weightBytes_))
      return Status(Code::File, "prepared weight '" + program.prepared[i].name +
                                    "' has an impossible size; compile again");
    if (traits.sharesHostMemory && embedded[i] &&
        reinterpret_cast<uintptr_t>(embedded[i]) % 64 == 0) {
      // Start reading now what the first launches will wait for.
      auto begin = reinterpret_cast<uintptr_t>(embedded[i]);
      uintptr_t page = begin & ~uintptr_t(4095);
      madvise(reinterpret_cast<void *>(page), begin - page + static_cast<size_t>(bytes),
              MADV_WILLNEED);
      prepared_[i] = embedded[i];
      continue;
    }
    if (!embedded[i] && !program.prepared[i].sources.empty() && !weights)
      return Status(Code::File, "the model embeds no weights and no checkpoint was given; "
                                "give its model.safetensors or compile with --weights=embed");
    offsets[i] = total;
    if (!embedded[i])
      largest = std::max(largest, bytes);
    total += roundUp(bytes + traits.guard, traits.alignment);
  }
  if (!traits.sharesHostMemory) {
    Result<int64_t> session = sessionBytes(
        program, options.batch, options.maxPiece ? options.maxPiece : traits.maxPiece, traits);
    if (!session.isOk())
      return session.status();
    OTODUS_RETURN_IF_ERROR(
        checkFits(*device_, total + options.sessions * *session,
                  "the model with weights of " + std::to_string(total) + " bytes" +
                      (options.sessions ? " and its session" : "")));
  }
  Result<Memory> memory = Memory::allocate(device_, static_cast<size_t>(total));
  if (!memory.isOk())
    return memory.status().in("weights");
  weights_ = std::move(*memory);

  std::shared_ptr<ThreadPool> pool = options.pool;
  if (total && !pool)
    pool = std::make_shared<ThreadPool>();
  std::unique_ptr<Stream> stream;
  Memory staging; // of the largest weight; they go through it one after the other
  if (total && !traits.sharesHostMemory) {
    Result<std::unique_ptr<Stream>> made = device_->stream(*pool);
    if (!made.isOk())
      return made.status();
    stream = std::move(*made);
    Result<Memory> host = Memory::staging(device_, static_cast<size_t>(largest));
    if (!host.isOk())
      return host.status().in("staging memory for weights");
    staging = std::move(*host);
  }
  MemoryWeights none;
  for (size_t i = 0; i < count; ++i) {
    if (offsets[i] < 0)
      continue;
    std::byte *out = weights_.data() + offsets[i];
    prepared_[i] = out;
    auto bytes = static_cast<size_t>(formats::preparedBytes(program.prepared[i]));
    const std::byte *from = embedded[i];
    if (!from) {
      std::byte *packed = stream ? staging.data() : out;
      OTODUS_RETURN_IF_ERROR(
          prepare(program.prepared[i], weights ? *weights : none, *pool, packed));
      from = packed;
    }
    if (stream) {
      if (traits.checksMemory)
        OTODUS_RETURN_IF_ERROR(
            device_->announce(out, bytes, "weight " + program.prepared[i].name));
      OTODUS_RETURN_IF_ERROR(stream->write(out, from, bytes));
      OTODUS_RETURN_IF_ERROR(stream->synchronise());
    } else if (from != out) {
      std::memcpy(out, from, bytes);
    }
  }
  return Status::ok();
}

Result<std::shared_ptr<const Model>> Model::open(const ArtefactFile &file, WeightSource *weights,
                                                 const OpenOptions &options) {
  OpenOptions copy = options;
  // Copies of an ArtefactFile share the mapping.
  copy.keepAlive = std::make_shared<std::pair<ArtefactFile, std::shared_ptr<const void>>>(
      file, options.keepAlive);
  for (size_t p = 0; p < file.artefact().programs.size(); ++p) {
    std::vector<const std::byte *> &embedded = copy.embedded.emplace_back();
    for (size_t i = 0; i < file.artefact().programs[p].prepared.size(); ++i)
      embedded.push_back(reinterpret_cast<const std::byte *>(file.weight(p, i)));
  }
  Result<std::shared_ptr<const Model>> model = open(file.artefact(), weights, copy);
  if (!model.isOk())
    return model.status().in(file.path());
  return model;
}

Result<std::shared_ptr<const Model>> Model::openFile(const std::string &path,
                                                     const std::string &weightsPath,
                                                     const OpenOptions &options) {
  Result<ArtefactFile> file = ArtefactFile::open(path);
  if (!file.isOk())
    return file.status();
  const Artefact &artefact = file->artefact();
  std::unique_ptr<WeightSource> weights;
  Result<Place> place = findPlace(artefact, options);
  if (!place.isOk())
    return place.status().in(path);
  OpenOptions there = options;
  there.openDevice = place->device;
  size_t program = place->choice.program;
  bool needed = needsTensors(artefact.programs[program],
                             [&](size_t i) { return file->weight(program, i) != nullptr; });
  if (needed && weightsPath.empty() && artefact.weightsFile.empty())
    return Status(Code::File, path + ": embeds no weights and names no checkpoint; give one, or "
                                     "compile with --weights=embed");
  if (needed || !weightsPath.empty()) {
    std::string name =
        weightsPath.empty() ? findCheckpoint(path, artefact.weightsFile) : weightsPath;
    // A file that the caller names is the caller's choice; its shapes are checked anyway.
    Result<std::unique_ptr<WeightSource>> source =
        openWeights(name, weightsPath.empty() ? artefact.weightsHash : "");
    if (!source.isOk())
      return source.status();
    weights = std::move(*source);
  }
  return open(*file, weights.get(), there);
}

const formats::Function *Model::function(const std::string &name) const {
  auto found = functionIndex_.find(name);
  return found == functionIndex_.end() ? nullptr : &program().functions[found->second];
}

int64_t Model::codeBytes() const { return image_->bytes(); }

int64_t Model::vocabulary(const std::string &name) const {
  if (const formats::Function *wanted = function(name))
    for (const formats::Argument &input : wanted->inputs)
      if (input.name == "tokens")
        return input.bound;
  return 0;
}

} // namespace otodus::runtime
