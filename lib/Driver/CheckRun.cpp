//===- CheckRun.cpp - Running a case and comparing --------------------------===//

#include "CheckGradients.h"
#include "CheckTrain.h"
#include "otodus/Driver/GoldenCase.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <optional>
#include <ostream>
#include <utility>

namespace otodus::driver {

using reference::Tensor;
using reference::Tokens;

double measureError(Measure measure, const Tensor &found, const Tensor &expected) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (found.size() != expected.size())
    return infinity;
  double worst = 0, largest = 0, squares = 0, reference = 0, different = 0;
  for (int64_t i = 0; i < found.size(); ++i) {
    if (!std::isfinite(found[i]) || !std::isfinite(expected[i]))
      return infinity;
    double difference = std::abs(found[i] - expected[i]);
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(expected[i]));
    squares += difference * difference;
    reference += expected[i] * expected[i];
    different += difference != 0;
  }
  switch (measure) {
  case Measure::MaxRelative:
    return worst / std::max(1.0, largest);
  case Measure::Absolute:
    return worst;
  case Measure::RelativeRms:
    return squares == 0 ? 0 : std::sqrt(squares / reference);
  case Measure::Exact:
    return different;
  }
  return infinity;
}

std::string summary(const CheckCounts &counts) {
  return std::to_string(counts.ok) + " ok, " + std::to_string(counts.failed) + " failed, " +
         std::to_string(counts.notChecked) + " not checked";
}

namespace {

std::vector<CaseInput> stepsOf(const std::vector<CaseInput> &inputs, int64_t begin, int64_t end) {
  std::vector<CaseInput> result;
  for (const CaseInput &input : inputs)
    result.push_back({input.name, input.type, reference::steps(input.value, begin, end)});
  return result;
}

/// Sequence `b` of x [B, ...], as a batch of one.
Tensor sequenceOf(const Tensor &x, int64_t b) {
  std::vector<int64_t> shape = x.shape;
  shape[0] = 1;
  int64_t size = x.size() / x.dim(0);
  auto begin = x.data.begin() + b * size;
  return Tensor(shape, std::vector<double>(begin, begin + size));
}

CaseInput tokenInput(const Tokens &tokens) {
  return {"tokens", CaseType::Int32,
          Tensor({tokens.batch, tokens.length},
                 std::vector<double>(tokens.ids.begin(), tokens.ids.end()))};
}

Status noGradients() { return Status(Code::Internal, "this program has no gradients"); }

class Checker {
public:
  /// `program` may be null for what runs none.
  Checker(const GoldenCase &golden, CaseProgram *program, const CheckOptions &options,
          std::ostream &out, CheckCounts &counts)
      : golden_(golden), program_(program), options_(options), out_(out), counts_(counts) {}

  Status run() {
    if (golden_.expectations.empty() && !golden_.normWindow && !golden_.greedy)
      return {}; // results that agree with each other alone are no check
    bool stream = options_.stream && !golden_.pieces.empty();
    Results whole, pieces;
    if (options_.forward) {
      OTODUS_RETURN_IF_ERROR(runSplit({golden_.length}, "", whole));
      OTODUS_RETURN_IF_ERROR(runComposition(whole));
    }
    if (stream)
      OTODUS_RETURN_IF_ERROR(runSplit(golden_.pieces, " (pieces)", pieces));
    if (stream && options_.forward)
      comparePartition(whole, pieces);
    if (golden_.kind == CaseKind::Model && options_.forward)
      OTODUS_RETURN_IF_ERROR(runPrefill({golden_.length}, "prefill logits", whole));
    if (golden_.kind == CaseKind::Model && stream && options_.forward)
      OTODUS_RETURN_IF_ERROR(runPrefill(golden_.pieces, "prefill logits (pieces)", whole));
    if (options_.stream && golden_.normWindow)
      OTODUS_RETURN_IF_ERROR(runWindow());
    if (options_.stream && golden_.greedy)
      OTODUS_RETURN_IF_ERROR(runGreedy());
    return {};
  }

  void compareTraining(const std::vector<TrainingResult> &results) {
    for (const TrainingResult &result : results)
      compare(result.label, golden_.training->measure, golden_.training->tolerance, result.found,
              result.expected);
  }

  /// Gradients of the whole sequence, and of the same cut into pieces with those of states passed
  /// back (the program is one of compileGradients).
  Status runGradients() {
    const CaseGradients &gradients = *golden_.gradients;
    std::vector<CaseInput> inputs = golden_.inputs;
    inputs.insert(inputs.end(), gradients.cotangents.begin(), gradients.cotangents.end());
    if (golden_.targets)
      inputs.push_back({"targets", CaseType::Int32, tokenInput(*golden_.targets).value});
    std::vector<Tensor> whole;
    for (int64_t maxPiece : {int64_t(0), std::max<int64_t>(1, golden_.length / 3)}) {
      Result<std::unique_ptr<CaseSession>> session =
          program_->startPieces(golden_.batch, 0, maxPiece);
      if (!session.isOk())
        return session.status();
      for (const CaseState &state : golden_.states)
        if (state.initial)
          OTODUS_RETURN_IF_ERROR((*session)->setState(state.name, state.type, *state.initial));
      for (const auto &[name, value] : gradients.stateCotangents)
        OTODUS_RETURN_IF_ERROR((*session)->setStateGradient(name, value));
      std::map<std::string, Tensor> outputs;
      OTODUS_RETURN_IF_ERROR((*session)->differentiate(inputs, outputs));
      for (size_t i = 0; i < gradients.expected.size(); ++i) {
        const CaseGradients::Expected &expected = gradients.expected[i];
        Result<Tensor> found = foundGradient(expected, golden_, outputs, **session);
        if (!found.isOk())
          return found.status();
        compare(expected.label + (maxPiece ? " (pieces)" : ""), gradients.measure,
                gradients.tolerance, *found, expected.value);
      }
    }
    return {};
  }

private:
  /// What a run leaves behind.
  struct Results {
    std::map<std::string, Tensor> outputs; ///< of all steps
    std::map<std::string, Tensor> states;  ///< afterwards
  };

  void report(const std::string &label, double error, double tolerance, bool ok) {
    char text[256];
    std::snprintf(text, sizeof(text), "  %-44s %9.2e %9.2e  %s\n", label.c_str(), error, tolerance,
                  ok ? "ok" : "FAIL");
    out_ << text;
    ++(ok ? counts_.ok : counts_.failed);
  }
  void compare(const std::string &label, Measure measure, double tolerance, const Tensor &found,
               const Tensor &expected) {
    double error = measureError(measure, found, expected);
    report(label, error, tolerance, error <= tolerance);
  }

  Status compare(const Expectation &expectation, const std::string &suffix,
                 const std::map<std::string, Tensor> &outputs, CaseSession &session) {
    Tensor found;
    switch (expectation.source) {
    case Expectation::Source::Output: {
      auto it = outputs.find(expectation.name);
      if (it == outputs.end())
        return Status(Code::Internal,
                      golden_.name + ": the program has no output " + expectation.name);
      found = it->second;
      break;
    }
    case Expectation::Source::State: {
      Result<Tensor> state = session.state(expectation.name);
      if (!state.isOk())
        return state.status();
      found = std::move(*state);
      // Of keys and values only those of the open chunk are stored.
      const Tensor &value = expectation.value;
      if (found.rank() == 4 && value.rank() == 4 && value.dim(1) < found.dim(1))
        found = reference::steps(found, 0, value.dim(1));
      break;
    }
    case Expectation::Source::Position: {
      Result<std::vector<int64_t>> positions = session.positions();
      if (!positions.isOk())
        return positions.status();
      found = Tensor(
          {}, std::vector{static_cast<double>(positions->at(0) % golden_.config.chunk_size)});
      break;
    }
    }
    compare(expectation.label + suffix, expectation.measure, expectation.tolerance, found,
            expectation.value);
    return {};
  }

  /// With `only` the batch is that sequence alone.
  Result<std::unique_ptr<CaseSession>> start(int64_t batch, int threads = 0,
                                             std::optional<int64_t> only = {}) {
    Result<std::unique_ptr<CaseSession>> session = program_->start(batch, threads);
    if (!session.isOk())
      return session;
    for (const CaseState &state : golden_.states)
      if (state.initial)
        OTODUS_RETURN_IF_ERROR((*session)->setState(
            state.name, state.type, only ? sequenceOf(*state.initial, *only) : *state.initial));
    return session;
  }

  std::vector<std::string> stateNames() const {
    std::vector<std::string> names;
    for (const CaseState &state : golden_.states)
      names.push_back(state.name);
    if (golden_.kind != CaseKind::Model)
      return names;
    for (int64_t layer = 0; layer < golden_.config.num_layers; ++layer)
      for (const char *what : {"timenorm.count", "timenorm.mean", "timenorm.variance", "cema.h",
                               "attention.keys", "attention.values"})
        names.push_back(layerStateName(layer, std::string("mega.") + what));
    for (const char *what : {"count", "mean", "variance"})
      names.push_back(std::string("output.final_norm.") + what);
    return names;
  }

  Status readStates(CaseSession &session, Results &results) {
    for (const std::string &name : stateNames()) {
      Result<Tensor> state = session.state(name);
      if (!state.isOk())
        return state.status();
      results.states[name] = std::move(*state);
    }
    return {};
  }

  /// Measure and tolerance of the results under `name`; counts are exact.
  std::pair<Measure, double> toleranceOf(const std::string &name) const {
    if (name.ends_with("count"))
      return {Measure::Exact, 0};
    const Expectation *first = nullptr;
    for (const Expectation &expectation : golden_.expectations) {
      if (expectation.measure == Measure::Exact)
        continue;
      if (expectation.name == name)
        return {expectation.measure, expectation.tolerance};
      if (!first)
        first = &expectation;
    }
    return first ? std::pair(first->measure, first->tolerance)
                 : std::pair(Measure::MaxRelative, 0.0);
  }

  /// The partition law: pieces with carried state give what one call gives, within 1e-5 unless
  /// the inputs are far from 0 compared with their spread. Both sides are compiled results.
  void comparePartition(const Results &whole, const Results &pieces,
                        const std::string &label = " (whole vs pieces)") {
    auto one = [&](const std::string &name, const Tensor &found, const Tensor &expected) {
      auto [measure, tolerance] = toleranceOf(name);
      if (options_.dtype == "f32" && measure != Measure::Exact && !golden_.keepInputsF32) {
        measure = Measure::MaxRelative;
        tolerance = 1e-5;
      }
      if (found.size() || expected.size())
        compare(name + label, measure, tolerance, found, expected);
    };
    for (const auto &[name, value] : whole.outputs)
      one(name, pieces.outputs.at(name), value);
    for (const auto &[name, value] : whole.states)
      one(name, pieces.states.at(name), value);
  }

  /// Threads and neighbours in the batch change no bit.
  Status runComposition(const Results &whole) {
    auto differing = [](const std::map<std::string, Tensor> &found,
                        const std::map<std::string, Tensor> &expected) {
      double count = 0;
      for (const auto &[name, value] : expected)
        if (auto it = found.find(name); it != found.end())
          count += measureError(Measure::Exact, it->second, value);
        else
          count += static_cast<double>(value.size());
      return count;
    };
    for (int threads : {1, 2}) {
      Result<std::unique_ptr<CaseSession>> session = start(golden_.batch, threads);
      if (!session.isOk())
        return session.status();
      Results results;
      OTODUS_RETURN_IF_ERROR((*session)->run(golden_.inputs, results.outputs));
      OTODUS_RETURN_IF_ERROR(readStates(**session, results));
      double count = differing(results.outputs, whole.outputs) +
                     differing(results.states, whole.states);
      report(threads == 1 ? "elements changed by 1 thread" : "elements changed by 2 threads", count,
             0, count == 0);
    }
    if (golden_.batch == 1)
      return {};
    double count = 0;
    for (int64_t b = 0; b < golden_.batch; ++b) {
      Result<std::unique_ptr<CaseSession>> session = start(1, 0, b);
      if (!session.isOk())
        return session.status();
      std::vector<CaseInput> inputs;
      for (const CaseInput &input : golden_.inputs)
        inputs.push_back({input.name, input.type, sequenceOf(input.value, b)});
      Results alone;
      OTODUS_RETURN_IF_ERROR((*session)->run(inputs, alone.outputs));
      OTODUS_RETURN_IF_ERROR(readStates(**session, alone));
      if (!options_.exactBatch) {
        Results inBatch;
        for (const auto &[name, value] : alone.outputs)
          inBatch.outputs[name] = sequenceOf(whole.outputs.at(name), b);
        for (const auto &[name, value] : alone.states)
          inBatch.states[name] = value.size() ? sequenceOf(whole.states.at(name), b) : value;
        comparePartition(inBatch, alone, " (in a batch vs alone)");
        continue;
      }
      for (const auto &[name, value] : alone.outputs)
        count += measureError(Measure::Exact, value, sequenceOf(whole.outputs.at(name), b));
      for (const auto &[name, value] : alone.states)
        if (value.size())
          count += measureError(Measure::Exact, value, sequenceOf(whole.states.at(name), b));
    }
    if (options_.exactBatch)
      report("elements changed by the batch", count, 0, count == 0);
    return {};
  }

  /// Fresh sequences through @prefill; after every piece its logits are @forward's of that step.
  Status runPrefill(const std::vector<int64_t> &pieces, const std::string &label,
                    const Results &whole) {
    auto it = whole.outputs.find("logits");
    if (it == whole.outputs.end())
      return Status(Code::Internal, golden_.name + ": the program has no output logits");
    Result<std::unique_ptr<CaseSession>> session = start(golden_.batch);
    if (!session.isOk())
      return session.status();
    std::vector<Tensor> found, expected;
    int64_t begin = 0, end = 0;
    for (int64_t piece : pieces) {
      end = begin + piece;
      Result<Tensor> last = (*session)->prefill(stepsOf(golden_.inputs, begin, end)[0]);
      if (!last.isOk())
        return last.status();
      found.push_back(std::move(*last));
      expected.push_back(reference::steps(it->second, end - 1, end));
      begin = end;
    }
    auto [measure, tolerance] = toleranceOf("logits");
    compare(label, measure, tolerance, reference::joinSteps(found), reference::joinSteps(expected));
    return {};
  }

  /// `results` gets the program's own results.
  Status runSplit(const std::vector<int64_t> &pieces, const std::string &suffix,
                  Results &results) {
    Result<std::unique_ptr<CaseSession>> session = start(golden_.batch);
    if (!session.isOk())
      return session.status();
    bool stored = !suffix.empty();
    std::map<std::string, std::vector<Tensor>> parts;
    int64_t begin = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      std::map<std::string, Tensor> outputs;
      OTODUS_RETURN_IF_ERROR(
          (*session)->run(stepsOf(golden_.inputs, begin, begin + pieces[i]), outputs));
      begin += pieces[i];
      for (auto &[name, value] : outputs)
        parts[name].push_back(std::move(value));
      for (const Expectation &expectation : golden_.expectations)
        if (stored && expectation.piece == static_cast<int64_t>(i))
          OTODUS_RETURN_IF_ERROR(compare(expectation, "", outputs, **session));
    }
    std::map<std::string, Tensor> outputs;
    for (const auto &[name, values] : parts)
      outputs[name] = reference::joinSteps(values);
    results.outputs = outputs;
    OTODUS_RETURN_IF_ERROR(readStates(**session, results));
    if (golden_.targets && outputs.contains("logits")) {
      Tensor nll = reference::negativeLogLikelihood(outputs["logits"], *golden_.targets);
      double sum = std::accumulate(nll.data.begin(), nll.data.end(), 0.0);
      outputs["loss"] = Tensor({}, std::vector{sum / static_cast<double>(nll.size())});
      outputs["nll"] = std::move(nll);
    }
    for (const Expectation &expectation : golden_.expectations)
      if (expectation.piece == -1)
        OTODUS_RETURN_IF_ERROR(compare(expectation, suffix, outputs, **session));
    return {};
  }

  Result<Tensor> logits(CaseSession &session, const Tokens &tokens) {
    std::map<std::string, Tensor> outputs;
    OTODUS_RETURN_IF_ERROR(session.run({tokenInput(tokens)}, outputs));
    auto it = outputs.find("logits");
    if (it == outputs.end())
      return Status(Code::Internal, golden_.name + ": the program has no output logits");
    return std::move(it->second);
  }

  /// Spec 5's evaluation with windowed normalisation, as reference::windowedForward.
  Status runWindow() {
    const reference::NormWindow &window = *golden_.normWindow;
    int64_t chunk = golden_.config.chunk_size, stride = window.chunksPerCall * chunk;
    Tokens tokens = reference::toTokens(golden_.inputs[0].value);
    Result<std::unique_ptr<CaseSession>> session = start(tokens.batch);
    if (!session.isOk())
      return session.status();
    std::vector<Tensor> pieces;
    for (int64_t begin = 0, end = 0; begin < tokens.length; begin = end) {
      end = std::min(begin + stride, tokens.length);
      if (end - begin > chunk)
        end -= end % chunk;
      Result<Tensor> piece = logits(**session, reference::steps(tokens, begin, end));
      if (!piece.isOk())
        return piece.status();
      pieces.push_back(std::move(*piece));
      if (end == tokens.length || end < window.triggerChunks * chunk)
        continue;
      Result<std::unique_ptr<CaseSession>> recent = start(tokens.batch);
      if (!recent.isOk())
        return recent.status();
      int64_t first = std::max<int64_t>(0, end - window.windowChunks * chunk);
      Result<Tensor> unused = logits(**recent, reference::steps(tokens, first, end));
      if (!unused.isOk())
        return unused.status();
      for (int64_t i = 0; i <= golden_.config.num_layers; ++i)
        for (const char *what : {"count", "mean", "variance"}) {
          std::string name = i < golden_.config.num_layers
                                 ? layerStateName(i, std::string("mega.timenorm.") + what)
                                 : std::string("output.final_norm.") + what;
          Result<Tensor> state = (*recent)->state(name);
          if (!state.isOk())
            return state.status();
          CaseType type = std::string(what) == "count" ? CaseType::Int64 : CaseType::Float;
          OTODUS_RETURN_IF_ERROR((*session)->setState(name, type, *state));
        }
    }
    Tensor nll = reference::negativeLogLikelihood(reference::joinSteps(pieces), *golden_.targets);
    compare("nll (norm window)", golden_.windowMeasure, golden_.windowTolerance, nll,
            golden_.windowNll);
    return {};
  }

  /// Feeds the prompt and then the stored tokens one by one; before each the largest logit
  /// must be that token's. Under bf16 only where the reference's two best are further apart
  /// than twice the error.
  Status runGreedy() {
    const Tokens &tokens = *golden_.greedy;
    Result<reference::Model> model = reference::Model::create(golden_.config, golden_.weights);
    if (!model.isOk())
      return model.status();
    reference::ModelState state = model->freshState(1);
    Result<Tensor> expected = model->forward(tokens, state);
    if (!expected.isOk())
      return expected.status();
    Result<std::unique_ptr<CaseSession>> session = start(1);
    if (!session.isOk())
      return session.status();

    int64_t wrong = 0, width = golden_.config.outputSize();
    for (int64_t t = golden_.promptLength, begin = 0; t < tokens.length; begin = t, ++t) {
      Result<Tensor> found = logits(**session, reference::steps(tokens, begin, t));
      if (!found.isOk())
        return found.status();
      if (found->size() < width)
        return Status(Code::Internal, golden_.name + ": the logits are too few");
      std::vector<double> own(found->data.end() - width, found->data.end());
      auto row = expected->data.begin() + (t - 1) * width;
      std::vector<double> best(row, row + width);
      if (options_.dtype == "bf16") {
        double error = 0;
        for (int64_t i = 0; i < width; ++i)
          error = std::max(error, std::abs(own[i] - best[i]));
        std::partial_sort(best.begin(), best.begin() + std::min<int64_t>(2, width), best.end(),
                          std::greater<>());
        if (width > 1 && best[0] - best[1] <= 2 * error)
          continue;
      }
      bool finite = std::all_of(own.begin(), own.end(), [](double x) { return std::isfinite(x); });
      wrong += !finite || reference::argmax(own) != tokens.ids[t];
    }
    report("greedy tokens", static_cast<double>(wrong), 0, wrong == 0);
    return {};
  }

  const GoldenCase &golden_;
  CaseProgram *program_;
  const CheckOptions &options_;
  std::ostream &out_;
  CheckCounts &counts_;
};

/// A draw inverts the distribution's prefix sums: the token's share of [0, 1) holds the point.
Status checkDistributions(const GoldenCase &golden, const CheckOptions &options, std::ostream &out,
                          CheckCounts &counts) {
  const int64_t kDraws = options.simulated ? 64 : 4096; // of a row
  for (const GoldenCase::Distribution &d : golden.distributions) {
    int64_t width = golden.logits.dim(1);
    Result<std::vector<CheckOptions::Draw>> draws =
        options.draws(golden.logits, d.filter, kDraws);
    if (!draws.isOk())
      return draws.status();
    double error = draws->empty() ? 1 : 0, tolerance = 1e-9;
    for (const CheckOptions::Draw &draw : *draws) {
      if (draw.token < 0 || draw.token >= width || draw.row < 0 ||
          draw.row >= golden.logits.dim(0)) {
        error = 1;
        continue;
      }
      auto p = d.value.data.begin() + draw.row * width;
      double before = std::accumulate(p, p + draw.token, 0.0);
      error = std::max({error, before - draw.point, draw.point - (before + p[draw.token])});
    }
    char text[256];
    std::snprintf(text, sizeof(text), "  %-44s %9.2e %9.2e  %s\n", d.label.c_str(), error,
                  tolerance, error <= tolerance ? "ok" : "FAIL");
    out << text;
    ++(error <= tolerance ? counts.ok : counts.failed);
  }
  return Status::ok();
}

} // namespace

Status CaseSession::differentiate(const std::vector<CaseInput> &, std::map<std::string, Tensor> &) {
  return noGradients();
}
Result<Tensor> CaseSession::gradient(const std::string &) { return noGradients(); }
Result<Tensor> CaseSession::stateGradient(const std::string &) { return noGradients(); }
Status CaseSession::setStateGradient(const std::string &, const Tensor &) { return noGradients(); }
Result<std::unique_ptr<CaseSession>> CaseProgram::startPieces(int64_t, int, int64_t) {
  return noGradients();
}
Result<std::unique_ptr<CaseProgram>>
CaseRunner::compileGradients(const GoldenCase &, const std::string &, const std::string &) {
  return std::unique_ptr<CaseProgram>();
}

Result<std::unique_ptr<runtime::TrainingBackend>>
CaseRunner::compileTraining(const GoldenCase &, const std::string &) {
  return std::unique_ptr<runtime::TrainingBackend>();
}

Status checkCase(const GoldenCase &golden, CaseRunner &runner, const CheckOptions &options,
                 std::ostream &out, CheckCounts &counts) {
  CheckCounts own;
  if (golden.kind == CaseKind::Sampling) {
    if (options.draws)
      OTODUS_RETURN_IF_ERROR(checkDistributions(golden, options, out, own));
  } else {
    if (options.forward || options.stream) {
      Result<std::unique_ptr<CaseProgram>> program =
          runner.compile(golden, moduleFor(golden, options.dtype), options.dtype);
      if (!program.isOk())
        return program.status();
      OTODUS_RETURN_IF_ERROR(Checker(golden, program->get(), options, out, own).run());
      for (const GoldenCase &part : golden.more)
        OTODUS_RETURN_IF_ERROR(Checker(part, program->get(), options, out, own).run());
    }
    bool differentiated = false;
    if (golden.gradients && options.gradients) {
      Result<std::unique_ptr<CaseProgram>> program =
          runner.compileGradients(golden, moduleFor(golden, options.dtype, true), options.dtype);
      if (!program.isOk())
        return program.status();
      if ((differentiated = *program != nullptr))
        OTODUS_RETURN_IF_ERROR(Checker(golden, program->get(), options, out, own).runGradients());
    }
    if (golden.training) {
      Result<std::unique_ptr<runtime::TrainingBackend>> backend =
          std::unique_ptr<runtime::TrainingBackend>();
      if (options.training)
        backend = runner.compileTraining(golden, options.dtype);
      if (!backend.isOk())
        return backend.status();
      if (*backend) {
        Result<std::vector<TrainingResult>> results = runTraining(*golden.training, **backend);
        if (!results.isOk())
          return results.status();
        Checker(golden, nullptr, options, out, own).compareTraining(*results);
      } else {
        out << "  training steps not checked\n";
        own.notChecked += 1 + static_cast<int64_t>(golden.training->after.size());
      }
    }
    if (golden.gradients && !differentiated)
      for (const CaseGradients::Expected &expected : golden.gradients->expected) {
        out << "  " << expected.label << " not checked\n";
        ++own.notChecked;
      }
  }
  for (const std::string &name : golden.notChecked)
    out << "  " << name << " not checked\n";
  own.notChecked += static_cast<int64_t>(golden.notChecked.size());
  bool nothingAsked = !options.forward && !options.stream &&
                      !(options.gradients && golden.gradients) &&
                      !(options.training && golden.training);
  if (own.ok + own.failed == 0 && !nothingAsked) {
    out << "  nothing was compared  FAIL\n";
    ++own.failed;
  }
  counts.ok += own.ok;
  counts.failed += own.failed;
  counts.notChecked += own.notChecked;
  return {};
}

} // namespace otodus::driver
