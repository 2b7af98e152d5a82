//===- GoldenCase.h - A computation with its expected numbers ---------------===//
//
// The heart of `otodus check`. A case is an op, a block, a layer or a whole model
// with inputs, initial states, splits and expected results. It comes from a golden
// file (test/golden/README.md describes them) or from a random generator with
// lib/Reference as the oracle, and it becomes a program for the compiler. How the
// program is compiled and run is behind CaseRunner.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Status.h"
#include "otodus/Reference/Reference.h"
#include "otodus/Runtime/TrainingBackend.h"

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace otodus::driver {

enum class CaseKind { TimestepNorm, Cema, Attention, Ffn, Block, Layer, Model, Sampling };

/// "timestep_norm", "cema", "attention", "ffn", "block", "layer", "model",
/// "sampling_schedule": the `op` of golden files.
const char *nameOf(CaseKind kind);

/// How a value crosses the border to the compiled program.
enum class CaseType { Float, Int64, Int32, Bool };

struct CaseInput {
  std::string name; ///< mega.name of the argument
  CaseType type = CaseType::Float;
  reference::Tensor value; ///< [B, L, ...] in the program's shape ([B, L, H, d] with heads)
};

struct CaseState {
  std::string name; ///< mega.state of the argument
  CaseType type = CaseType::Float;
  std::vector<int64_t> shape; ///< of one sequence
  bool openChunk = false;     ///< only the first (position mod chunk) entries count
  /// [B, shape...]; none: a fresh state, all 0.
  std::optional<reference::Tensor> initial;
};

enum class Measure {
  MaxRelative, ///< max |a-b| / max(1, max |b|)
  Absolute,    ///< max |a-b|
  RelativeRms, ///< sqrt(sum (a-b)^2 / sum b^2)
  Exact,       ///< number of differing elements
};

/// A number or tensor that must come out.
struct Expectation {
  enum class Source {
    Output,   ///< what the function returned over all steps, joined
    State,    ///< a state when the last step has run
    Position, ///< (position mod chunk) of the first sequence
  };
  std::string label; ///< name of the tensor in the golden file
  Source source = Source::Output;
  std::string name;   ///< of the program's output or state
  int64_t piece = -1; ///< State, Position: after this piece of the stored split; -1: at the end
  reference::Tensor value;
  Measure measure = Measure::MaxRelative;
  double tolerance = 0;
};

/// Gradients of Σ output · cotangent, or of the mean loss of a model (test/golden/README.md).
struct CaseGradients {
  enum class Source { Input, Weight, State, PriorMean, PriorLogVariance };
  struct Expected {
    std::string label; ///< name of the tensor in the golden file
    Source source = Source::Input;
    std::string name;  ///< of the input, weight or state
    reference::Tensor value;
  };
  std::vector<CaseInput> cotangents; ///< "cot_" and the name of an output
  std::map<std::string, reference::Tensor> stateCotangents; ///< by state, at the end
  std::vector<Expected> expected;
  Measure measure = Measure::MaxRelative;
  double tolerance = 0;
};

/// Steps of training: loss, clipping, AdamW with the reference's defaults.
struct CaseTraining {
  reference::Tensor tokens, targets; ///< [steps, B, L]
  reference::Tensor rates, norms;    ///< of every step: learning rate; norm before clipping
  reference::Tensor losses;          ///< before every step, and of the first batch after the last
  std::map<std::string, reference::Tensor> after; ///< parameters after the last step
  std::map<std::string, double> afterNorms;       ///< their L2 norms
  Measure measure = Measure::MaxRelative;
  double tolerance = 1e-4;
};

struct GoldenCase {
  std::string name; ///< stem of the file
  CaseKind kind = CaseKind::Cema;
  int64_t batch = 0, length = 0;
  /// The fields the kind uses: D, G, eps (timestep_norm); D, N (cema); H, Z, E, C (attention);
  /// D, F, eps, swiglu, rescale_nffn (ffn); all of a layer's (block, layer); all (model).
  formats::ModelConfig config;
  std::vector<CaseInput> inputs; ///< order of the function's arguments
  std::vector<CaseState> states; ///< ditto; empty for models: they start fresh
  /// By symbol: names as in the file ("param." included), of models the checkpoint's names.
  reference::Parameters weights;
  std::vector<int64_t> pieces; ///< the stored split; empty if there is none
  std::vector<Expectation> expectations;
  /// Activations stay f32 under bf16: rounding the input alone would be the whole error.
  bool keepInputsF32 = false;
  std::optional<CaseGradients> gradients;
  std::optional<CaseTraining> training;
  /// Stored results that are not checked: values inside a layer, what --only leaves out.
  std::vector<std::string> notChecked;

  // Models only.
  /// Input "tokens" is inputs[0]; with `targets` the negative log-likelihoods are outputs
  /// too, "nll" per step and "loss", their mean.
  std::optional<reference::Tokens> targets;
  /// Expected under the long-evaluation option, label "nll" (spec 5).
  std::optional<reference::NormWindow> normWindow;
  reference::Tensor windowNll; ///< [B, L]
  double windowTolerance = 0;
  Measure windowMeasure = Measure::MaxRelative;
  /// Greedy continuation: prompt, then what must be generated. Fed teacher-forced.
  std::optional<reference::Tokens> greedy;
  int64_t promptLength = 0;
  /// More inputs to the same model, each a case of its own (ragged lengths).
  std::vector<GoldenCase> more;

  // Sampling only: expected distributions [rows, V] of `logits` [rows, V].
  struct Distribution {
    std::string label;
    reference::SamplingFilter filter;
    reference::Tensor value;
  };
  reference::Tensor logits;
  std::vector<Distribution> distributions;
};

/// Reads a golden file. `dtype` is "f32" or "bf16" and decides the tolerances.
/// `parametersPath`: file with the parameters of model_stream, _ragged, _longeval and
/// _generate files ("" : the sibling file *_train of the same prefix). A file without
/// metadata beside a config.json is the expectation of that checkpoint.
/// Code::File for a file that is damaged or lacks a tensor, Code::Input for a case that is
/// not understood (unknown op, shapes that do not belong together).
Result<GoldenCase> readGoldenCase(const std::string &path, const std::string &dtype,
                                  const std::string &parametersPath = "");

/// A case of odd shapes, extreme values and a random split, with lib/Reference's results as
/// expectation. The same kind and seed make the same case on every machine. Sampling is
/// not generated (gives Model).
GoldenCase randomCase(CaseKind kind, uint64_t seed, const std::string &dtype);

/// MLIR text of a module with the function @forward for any kind but Model and Sampling.
/// Arguments: inputs, position (attention, block, layer), states; results: outputs,
/// states. Every argument and result has mega.name; states have mega.state, the same on
/// argument and result; the position has mega.position. Weights are mega.weight symbols.
/// `gradients`: @forward asks for @gradients (otodus-differentiate).
std::string moduleFor(const GoldenCase &golden, const std::string &dtype, bool gradients = false);

/// Outputs of the function @forward in order, and their types (Model: "logits").
std::vector<std::string> outputNames(const GoldenCase &golden);

/// Names of a model's states as the importer gives them, of layer `layer`:
/// "layers.0.mega.timenorm.count", ".mean", ".variance", "layers.0.mega.cema.h",
/// "layers.0.mega.attention.keys", ".values"; of the final norm "output.final_norm.count", ….
std::string layerStateName(int64_t layer, const std::string &what);

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

/// Sequences in progress.
class CaseSession {
public:
  virtual ~CaseSession() = default;
  /// Runs @forward over the next steps. `inputs` have [B, L, ...]; every output is filled.
  virtual Status run(const std::vector<CaseInput> &inputs,
                     std::map<std::string, reference::Tensor> &outputs) = 0;
  /// Models: runs @prefill over the next steps; gives the logits of the last, [B, 1, Vo].
  virtual Result<reference::Tensor> prefill(const CaseInput &tokens) = 0;
  /// [B, shape...]
  virtual Result<reference::Tensor> state(const std::string &name) = 0;
  virtual Status setState(const std::string &name, CaseType type,
                          const reference::Tensor &value) = 0;
  /// Absolute position of each sequence.
  virtual Result<std::vector<int64_t>> positions() = 0;

  // Of programs with gradients only; others give Code::Internal.
  /// Forward and then backward over the next steps; `inputs` are those of the forward function and
  /// the cotangents.
  virtual Status differentiate(const std::vector<CaseInput> &inputs,
                               std::map<std::string, reference::Tensor> &outputs);
  /// As so far; in its shape, and [B, shape...].
  virtual Result<reference::Tensor> gradient(const std::string &weight);
  virtual Result<reference::Tensor> stateGradient(const std::string &name);
  virtual Status setStateGradient(const std::string &name, const reference::Tensor &value);
};

/// A compiled case; must not outlive it.
class CaseProgram {
public:
  virtual ~CaseProgram() = default;
  /// `threads` that work on it; 0: as many as the program was made for.
  virtual Result<std::unique_ptr<CaseSession>> start(int64_t batch, int threads) = 0;
  /// The same with calls cut into pieces of at most `maxPiece` steps, 0: only where they must be.
  virtual Result<std::unique_ptr<CaseSession>> startPieces(int64_t batch, int threads,
                                                           int64_t maxPiece);
};

/// Compiles cases for one target and dtype.
class CaseRunner {
public:
  virtual ~CaseRunner() = default;
  /// Kind Model: `module` is empty; import golden.config, with golden.weights as the
  /// checkpoint and a function @forward from "tokens" to "logits" of every step.
  /// Others: `module` is moduleFor(golden, dtype).
  virtual Result<std::unique_ptr<CaseProgram>>
  compile(const GoldenCase &golden, const std::string &module, const std::string &dtype) = 0;
  /// A program whose sessions differentiate. `module` is moduleFor(golden, dtype, true), or empty
  /// for a model, whose function is @loss from "tokens" and "targets" to "nll". Null if this
  /// runner has no gradients.
  virtual Result<std::unique_ptr<CaseProgram>>
  compileGradients(const GoldenCase &golden, const std::string &module, const std::string &dtype);
  /// The model of the case, to be trained. Null if this runner cannot.
  virtual Result<std::unique_ptr<runtime::TrainingBackend>>
  compileTraining(const GoldenCase &golden, const std::string &dtype);
};

/// Runs cases with lib/Reference: checks the machinery itself, and golden files against
/// the reference.
std::unique_ptr<CaseRunner> referenceRunner();

//===----------------------------------------------------------------------===//
// Comparing
//===----------------------------------------------------------------------===//

/// NaN and infinities in `found`, and different sizes, give infinity; shapes may differ
/// in how a width is cut into heads.
double measureError(Measure measure, const reference::Tensor &found,
                    const reference::Tensor &expected);

struct CheckCounts {
  int64_t ok = 0, failed = 0, notChecked = 0;
};

struct CheckOptions {
  std::string dtype = "f32";
  bool forward = true; ///< whole sequences
  bool stream = true;  ///< stored splits
  bool gradients = true;
  bool training = true;
  /// A sequence alone gives the same bits as in a batch. GPU kernels for few rows sum in another
  /// order than those for many, so there it is the tolerance of the partition law.
  bool exactBatch = true;
  /// Compiled code runs in the simulator, which is slow: fewer draws.
  bool simulated = false;
  /// A token drawn for a row of logits where the random number was `point`, in [0, 1).
  struct Draw {
    int64_t row = 0;
    double point = 0;
    int64_t token = 0;
  };
  /// The sampler under test: `count` draws for every row of logits [rows, V]. Null: distributions
  /// are not checked.
  std::function<Result<std::vector<Draw>>(const reference::Tensor &logits,
                                          const reference::SamplingFilter &filter, int64_t count)>
      draws;
};

/// Compiles and runs the case and prints a line per tensor to `out`:
/// "label error tolerance ok|FAIL". Adds to `counts`. A Status is an error that ended the
/// case (also printed by the caller); a failed comparison is none. A case of which nothing
/// was compared counts as one failure.
Status checkCase(const GoldenCase &golden, CaseRunner &runner, const CheckOptions &options,
                 std::ostream &out, CheckCounts &counts);

/// "12 ok, 0 failed, 3 not checked"
std::string summary(const CheckCounts &counts);

} // namespace otodus::driver
