//===- Run.cpp - otodus run ------------------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Formats/Safetensors.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

namespace otodus::driver {

namespace {
struct Options {
  std::string model, entry, input, output, stateIn, stateOut;
  bool states = false;
  ModelFlags flags;
};

/// The runtime's element type of a file's; Code::Input for those it does not take.
Result<formats::DType> runtimeType(const formats::Tensor &tensor) {
  switch (tensor.type) {
  case formats::TensorType::F32: return formats::DType::F32;
  case formats::TensorType::BF16: return formats::DType::BF16;
  case formats::TensorType::F64: return formats::DType::F64;
  case formats::TensorType::I64: return formats::DType::I64;
  case formats::TensorType::I32: return formats::DType::I32;
  case formats::TensorType::Bool: return formats::DType::Bool;
  default:
    return Status(Code::Input, "tensor '" + tensor.name + "' is " + nameOf(tensor.type) +
                                   "; expected F32, BF16, F64, I32, I64 or BOOL");
  }
}

formats::TensorType fileType(formats::DType type) {
  switch (type) {
  case formats::DType::F32: return formats::TensorType::F32;
  case formats::DType::BF16: return formats::TensorType::BF16;
  case formats::DType::F64: return formats::TensorType::F64;
  case formats::DType::I64: return formats::TensorType::I64;
  case formats::DType::I32: return formats::TensorType::I32;
  case formats::DType::Bool: return formats::TensorType::Bool;
  }
  return formats::TensorType::F32;
}

Status run(const Options &options) {
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(options.input);
  if (!file.isOk())
    return file.status();
  Result<LoadedModel> loaded = openModel(options.model, options.flags);
  if (!loaded.isOk())
    return loaded.status();
  const formats::Program &program = loaded->model->program();

  std::string names;
  std::vector<std::string> candidates;
  for (const formats::Function &function : program.functions) {
    names += (names.empty() ? "" : ", ") + function.name;
    candidates.push_back(function.name);
  }
  std::string entry = options.entry;
  if (entry.empty()) {
    if (program.functions.size() != 1)
      return Status(Code::Usage, options.model + " has the functions " + names +
                                     "; choose one with --entry");
    entry = program.functions.front().name;
  }
  const formats::Function *function = loaded->model->function(entry);
  if (!function) {
    std::string near = formats::nearestWord(entry, candidates);
    return Status(Code::Usage, options.model + " has no function '" + entry + "'" +
                                   (near.empty() ? "" : "; did you mean " + near + "?") +
                                   " (it has " + names + ")");
  }

  // Inputs by name. The file's bytes need not be aligned, the runtime's must.
  std::map<std::string, runtime::TensorView> inputs;
  std::deque<std::vector<std::max_align_t>> memory;
  auto view = [&](const formats::Tensor &tensor) -> Result<runtime::TensorView> {
    Result<formats::DType> type = runtimeType(tensor);
    if (!type.isOk())
      return type.status();
    memory.emplace_back((tensor.bytes + sizeof(std::max_align_t)) / sizeof(std::max_align_t));
    std::memcpy(memory.back().data(), tensor.data, tensor.bytes);
    return runtime::TensorView{*type, tensor.shape, memory.back().data()};
  };
  int64_t batch = 0, length = 0;
  for (const formats::Argument &input : function->inputs) {
    const formats::Tensor *tensor = file->find(input.name);
    if (!tensor) {
      std::string has;
      for (const formats::Tensor &other : file->tensors())
        has += (has.empty() ? "" : ", ") + other.name;
      return Status(Code::Input, options.input + ": expected a tensor '" + input.name + "' for " +
                                     entry + ", but the file has only " +
                                     (has.empty() ? "nothing" : has));
    }
    if (tensor->shape.size() < 2)
      return Status(Code::Input, options.input + ": '" + input.name +
                                     "' expects the shape [batch, time, ...], but is " +
                                     formats::shapeToString(tensor->shape));
    batch = tensor->shape[0];
    length = std::max(length, tensor->shape[1]);
    Result<runtime::TensorView> viewed = view(*tensor);
    if (!viewed.isOk())
      return viewed.status().in(options.input);
    inputs[input.name] = *viewed;
  }
  if (batch < 1 || length < 1)
    return Status(Code::Input, options.input + ": expected at least one sequence and one step");

  runtime::SessionOptions sessionOptions;
  sessionOptions.batch = batch;
  sessionOptions.pool = loaded->pool;
  Result<std::unique_ptr<runtime::Session>> session =
      runtime::Session::create(loaded->model, sessionOptions);
  if (!session.isOk())
    return session.status();
  if (!options.stateIn.empty())
    OTODUS_RETURN_IF_ERROR((*session)->restore(options.stateIn));
  // A tensor named as a state sets it: tests start from any state this way.
  for (int64_t index : function->states) {
    const formats::Tensor *tensor = file->find(program.states[index].name);
    if (!tensor)
      continue;
    Result<runtime::TensorView> viewed = view(*tensor);
    if (!viewed.isOk())
      return viewed.status().in(options.input);
    OTODUS_RETURN_IF_ERROR((*session)->setState(tensor->name, *viewed).in(options.input));
  }
  if (const formats::Tensor *position = file->find("position")) {
    std::vector<double> values(static_cast<size_t>(position->elements()));
    OTODUS_RETURN_IF_ERROR(formats::readAsDouble(*position, 0, position->elements(), values.data()));
    OTODUS_RETURN_IF_ERROR(
        (*session)->setPositions(std::vector<int64_t>(values.begin(), values.end())));
  }

  std::map<std::string, runtime::MutableTensorView> outputs;
  std::vector<formats::TensorSpec> results;
  for (const formats::Argument &output : function->outputs) {
    std::vector<int64_t> shape = {batch,
                                  output.kind == formats::ArgumentKind::LastRows ? 1 : length};
    if (output.kind != formats::ArgumentKind::Steps)
      shape.insert(shape.end(), output.trailing.begin(), output.trailing.end());
    int64_t elements = 1;
    for (int64_t extent : shape)
      elements *= extent;
    memory.emplace_back(static_cast<size_t>(elements * formats::sizeOf(output.dtype)) /
                            sizeof(std::max_align_t) +
                        1);
    outputs[output.name] = {output.dtype, shape, memory.back().data()};
    results.push_back({output.name, fileType(output.dtype), shape, memory.back().data()});
  }
  OTODUS_RETURN_IF_ERROR((*session)->run(entry, inputs, outputs));

  std::deque<runtime::Tensor> states;
  if (options.states)
    for (int64_t index : function->states) {
      Result<runtime::Tensor> state = (*session)->state(program.states[index].name);
      if (!state.isOk())
        return state.status();
      states.push_back(std::move(*state));
      results.push_back({program.states[index].name, fileType(states.back().dtype),
                         states.back().shape, states.back().data.data()});
    }
  OTODUS_RETURN_IF_ERROR(formats::writeSafetensors(options.output, results));
  if (!options.stateOut.empty())
    OTODUS_RETURN_IF_ERROR((*session)->save(options.stateOut));
  for (const formats::TensorSpec &result : results)
    detail(result.name + " " + formats::shapeToString(result.shape));
  return Status::ok();
}
} // namespace

void addRun(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("run", "calls one function of a model on tensors of a file");
  sub->add_option("MODEL", options->model, "model directory, .mlir file or artefact (.oto)")->required();
  sub->add_option("--entry", options->entry, "function to call; may be left out if there is only one");
  sub->add_option("--input", options->input,
                  "safetensors with the operands by name; states and 'position' may be among them")
      ->required();
  sub->add_option("--output", options->output, "safetensors for the results by name")->required();
  sub->add_flag("--states", options->states, "add the states after the call to the output");
  sub->add_option("--state-in", options->stateIn, "go on from this state file");
  sub->add_option("--state-out", options->stateOut, "save the state");
  addRunFlags(*sub, options->flags);
  sub->footer("Examples:\n"
              "  otodus run block.mlir --entry=block --input in.safetensors --output out.safetensors");
  sub->callback([options, &action] { action = [options] { return run(*options); }; });
}

} // namespace otodus::driver
