//===- Bench.cpp - otodus bench ---------------------------------------------===//

#include "BenchCeilings.h"
#include "BenchChild.h"
#include "BenchPlan.h"
#include "BenchReport.h"
#include "Commands.h"
#include "Feed.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Formats/Launches.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

namespace fs = std::filesystem;

namespace otodus::driver {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string model, format = "md", label, child;
  ModelFlags flags;
  int64_t prefill = 512, decode = 32, readMegabytes = 0;
  int repeats = 7;
  bool compare = false;
};

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Tokens without a pattern, the same in every run.
std::vector<int32_t> randomTokens(int64_t count, int64_t vocabulary, uint64_t seed) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  uint64_t state = seed * 2 + 1;
  for (int32_t &token : tokens) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    token = static_cast<int32_t>((state >> 33) % uint64_t(std::max<int64_t>(vocabulary, 1)));
  }
  return tokens;
}

//===----------------------------------------------------------------------===//
// A fresh process: start-up and memory
//===----------------------------------------------------------------------===//

/// What the process `--child=start` does: one line when the first token is known, one with
/// the memory at the end.
Status serveStart(const Options &options) {
  MemorySampler memory;
  auto start = Clock::now();
  Result<LoadedModel> loaded = openModel(options.model, options.flags);
  if (!loaded.isOk())
    return loaded.status();
  double ready = since(start);
  Result<TokenFunctions> functions = findTokenFunctions(*loaded->model, options.model);
  if (!functions.isOk())
    return functions.status();
  runtime::SessionOptions sessionOptions;
  sessionOptions.pool = loaded->pool;
  Result<std::unique_ptr<runtime::Session>> session =
      runtime::Session::create(loaded->model, sessionOptions);
  if (!session.isOk())
    return session.status();
  std::vector<float> logits;
  OTODUS_RETURN_IF_ERROR(
      feed(**session, *functions, randomTokens(1, functions->vocabulary, 1), &logits));
  Json first = {
      {"ready", ready}, {"compile", loaded->compileSeconds}, {"firstToken", since(start)}};
  OTODUS_RETURN_IF_ERROR(writeStdout(first.dump() + "\n"));

  OTODUS_RETURN_IF_ERROR(feed(**session, *functions,
                              randomTokens(options.prefill, functions->vocabulary, 2), &logits));
  for (int32_t token : randomTokens(options.decode, functions->vocabulary, 3))
    OTODUS_RETURN_IF_ERROR(feed(**session, *functions, {token}, &logits));
  // Weights that lie in the artefact's pages are memory too.
  int64_t mapped = 0;
  for (const formats::Program::Embedded &embedded : loaded->model->program().embedded)
    mapped += int64_t(embedded.bytes);
  int64_t element = loaded->model->artefact().dtype == "bf16" ? 2 : 4;
  int64_t weights =
      loaded->config ? loaded->config->parameterCount() * element : loaded->model->weightBytes();
  Json last = {{"peak", memory.peak() + mapped},
               {"weights", weights},
               {"prepared", loaded->model->weightBytes()},
               {"state", (*session)->memory().state},
               {"scratch", (*session)->memory().scratch}};
  // Import is timed last: here it can disturb nothing that is reported.
  if (loaded->compileSeconds > 0) {
    auto importing = Clock::now();
    if (importToText(options.model, options.flags.dtype).isOk())
      last["import"] = since(importing);
  }
  return writeStdout(last.dump() + "\n");
}

/// One start of a fresh process.
struct Start {
  double firstToken = 0, open = 0, compile = 0, import = 0;
  Json memory;
};

Result<Start> measureStart(const Options &options, const std::string &dtype,
                           const std::string &cacheFlag) {
  std::vector<std::string> arguments = {"bench",
                                        options.model,
                                        "--child=start",
                                        cacheFlag,
                                        "--target=" + options.flags.target,
                                        "--threads=" + std::to_string(options.flags.threads),
                                        "--jobs=" + std::to_string(options.flags.jobs),
                                        "--prefill=" + std::to_string(options.prefill),
                                        "--decode=" + std::to_string(options.decode)};
  if (!dtype.empty())
    arguments.push_back("--dtype=" + dtype);
  if (!options.flags.checkpoint.empty())
    arguments.push_back("--checkpoint=" + options.flags.checkpoint);
  if (!options.flags.passPipeline.empty())
    arguments.push_back("--pass-pipeline=" + options.flags.passPipeline);
  for (const std::string &plugin : options.flags.plugins)
    arguments.push_back("--load-pass-plugin=" + plugin);
  auto begin = Clock::now();
  Result<ChildProcess> child = ChildProcess::start(arguments);
  if (!child.isOk())
    return child.status();
  Result<std::string> first = child->readLine();
  if (!first.isOk())
    return first.status();
  Start start;
  // From before the process exists until it knows the first token.
  start.firstToken = since(begin);
  Result<std::string> last = child->readLine();
  if (!last.isOk())
    return last.status();
  Json early = Json::parse(*first);
  start.memory = Json::parse(*last);
  double compile = early.at("compile").get<double>();
  start.import = std::min(start.memory.value("import", 0.0), compile);
  start.compile = compile - start.import;
  start.open = early.at("ready").get<double>() - compile;
  return start;
}

Json startJson(const std::vector<Start> &starts) {
  if (starts.empty())
    return nullptr;
  std::vector<double> first, open, compile, import;
  for (const Start &start : starts) {
    first.push_back(start.firstToken);
    open.push_back(start.open);
    compile.push_back(start.compile);
    import.push_back(start.import);
  }
  return {{"firstToken", statistic(first)},
          {"open", statistic(open)},
          {"compile", statistic(compile)},
          {"import", statistic(import)}};
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

/// All launches of one kind in a pass (one prefill, or all decoded tokens).
struct Kind {
  std::string name;
  int64_t calls = 0;                  ///< a pass
  LaunchWork work;                    ///< a pass
  int64_t productFlops = 0;           ///< a pass; products that run over all rows
  std::vector<BenchProduct> products; ///< of one launch, over all rows
  int64_t productCalls = 0;           ///< launches in one call of the function
  std::vector<double> seconds;        ///< one for each repeat
};

struct Phase {
  std::vector<Kind> kinds; ///< in the order of the plan
  std::vector<double> seconds;
  double profiledSeconds(size_t repeat) const {
    double total = 0;
    for (const Kind &kind : kinds)
      total += kind.seconds[repeat];
    return total;
  }
};

/// Kinds of `function`'s launches with their work over `pieces`.
std::vector<Kind> kindsOf(const formats::Program &program, const formats::Function &function,
                          const std::vector<BenchCall> &pieces) {
  std::vector<Kind> kinds;
  std::vector<std::vector<int>> chosen; // per piece
  for (const BenchCall &piece : pieces)
    chosen.push_back(formats::chooseVariants(function, piece.batch, piece.length));
  for (size_t i = 0; i < function.launches.size(); ++i) {
    const formats::Launch &launch = function.launches[i];
    auto runs = [&](const std::vector<int> &ofPiece) { return ofPiece[i] != formats::kLeftOut; };
    if (std::none_of(chosen.begin(), chosen.end(), runs))
      continue;
    std::string name = launchKind(launch.name);
    auto kind =
        std::find_if(kinds.begin(), kinds.end(), [&](const Kind &k) { return k.name == name; });
    if (kind == kinds.end()) {
      kinds.emplace_back();
      kind = kinds.end() - 1;
      kind->name = name;
    }
    std::vector<BenchProduct> products = productsOf(program, function, launch);
    bool allRows = launch.rowSymbol == formats::Symbol::Rows;
    for (size_t p = 0; p < pieces.size(); ++p) {
      if (!runs(chosen[p]))
        continue;
      const BenchCall &piece = pieces[p];
      ++kind->calls;
      LaunchWork work = workOf(program, function, launch, piece);
      kind->work += work;
      if (!products.empty() && allRows)
        kind->productFlops += work.flops;
    }
    if (!products.empty() && allRows) {
      kind->products = products;
      ++kind->productCalls;
    }
  }
  return kinds;
}

/// Adds a repeat to `phase`: what `before` and now differ by.
Status addProfile(Phase &phase, const std::vector<runtime::LaunchProfile> &before,
                  const std::vector<runtime::LaunchProfile> &after, const std::string &function) {
  for (Kind &kind : phase.kinds)
    kind.seconds.push_back(0);
  auto add = [&](const std::vector<runtime::LaunchProfile> &profile, double sign) {
    for (const runtime::LaunchProfile &entry : profile)
      if (entry.function == function)
        for (Kind &kind : phase.kinds)
          if (kind.name == launchKind(entry.launch))
            kind.seconds.back() += sign * double(entry.nanoseconds) * 1e-9;
  };
  add(after, 1);
  add(before, -1);
  if (phase.profiledSeconds(phase.kinds.empty() ? 0 : phase.kinds.front().seconds.size() - 1) <= 0)
    return Status(Code::Internal, "the session has no profile of '" + function + "'");
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// One compute type
//===----------------------------------------------------------------------===//

struct ShapeOf {
  size_t kind;
  BenchProduct product;
};

struct DtypeRun {
  LoadedModel loaded;
  TokenFunctions functions;
  const formats::Function *function = nullptr;
  std::string functionName;
  std::unique_ptr<runtime::Session> session;
  std::vector<Start> warm, cold;
  Phase prefill, decode;
  std::optional<SgemmProcess> sgemm;
  std::string sgemmMissing;
  std::vector<SgemmShape> shapes;
  std::vector<ShapeOf> shapeOf;
  std::vector<std::vector<double>> sgemmSeconds; ///< [repeat][shape]
  std::vector<Ceilings> ceilings;                ///< one for each repeat, just before it

  Status open(const Options &options, const std::string &dtype, const std::string &cache);
  Status repeat(const Options &options);
  Json report(const Options &options) const;
  bool fastBf16() const;
};

Status DtypeRun::open(const Options &options, const std::string &dtype, const std::string &cache) {
  ModelFlags flags = options.flags;
  flags.dtype = dtype;
  flags.cacheDir = cache;
  flags.noCache = false;
  Result<LoadedModel> opened = openModel(options.model, flags);
  if (!opened.isOk())
    return opened.status();
  loaded = std::move(*opened);
  Result<TokenFunctions> found = findTokenFunctions(*loaded.model, options.model);
  if (!found.isOk())
    return found.status();
  functions = *found;
  functionName = functions.last.empty() ? functions.all : functions.last;
  function = loaded.model->function(functionName);
  runtime::SessionOptions sessionOptions;
  sessionOptions.pool = loaded.pool;
  Result<std::unique_ptr<runtime::Session>> created =
      runtime::Session::create(loaded.model, sessionOptions);
  if (!created.isOk())
    return created.status();
  session = std::move(*created);

  const formats::Program &program = loaded.model->program();
  const formats::Artefact &artefact = loaded.model->artefact();
  prefill.kinds =
      kindsOf(program, *function,
              cutCall({1, 0, options.prefill}, function->chunk, session->maxPiece()));
  std::vector<BenchCall> steps;
  for (int64_t step = 0; step < options.decode; ++step)
    steps.push_back({1, options.prefill + step, 1});
  decode.kinds = kindsOf(program, *function, steps);

  for (size_t kind = 0; kind < prefill.kinds.size(); ++kind)
    for (const BenchProduct &product : prefill.kinds[kind].products) {
      shapes.push_back({options.prefill, product.n, product.k, prefill.kinds[kind].productCalls});
      shapeOf.push_back({kind, product});
    }
  // The floor for bf16 is a multiple of f32, so OpenBLAS need not run for it.
  if (shapes.empty() || (options.compare && artefact.dtype == "bf16")) {
    sgemmMissing = shapes.empty() ? "the model has no matrix products" : "it has no say on bf16";
    return Status::ok();
  }
  Result<SgemmProcess> process = SgemmProcess::start(shapes, loaded.pool->threads());
  if (process.isOk())
    sgemm.emplace(std::move(*process));
  else if (process.status().code() == Code::Target)
    sgemmMissing = process.status().message();
  else
    return process.status();
  return Status::ok();
}

Status DtypeRun::repeat(const Options &options) {
  std::vector<int32_t> prompt = randomTokens(options.prefill, functions.vocabulary, 4);
  std::vector<int32_t> next = randomTokens(options.decode, functions.vocabulary, 5);
  std::vector<float> logits;
  // Speed first, without a clock between the launches.
  for (bool profiling : {false, true}) {
    session->reset();
    session->setProfiling(profiling);
    std::vector<runtime::LaunchProfile> before = session->profile();
    auto start = Clock::now();
    OTODUS_RETURN_IF_ERROR(feed(*session, functions, prompt, &logits));
    double prefillSeconds = since(start);
    std::vector<runtime::LaunchProfile> between = session->profile();
    start = Clock::now();
    for (int32_t token : next)
      OTODUS_RETURN_IF_ERROR(feed(*session, functions, {token}, &logits));
    double decodeSeconds = since(start);
    if (!profiling) {
      prefill.seconds.push_back(prefillSeconds);
      decode.seconds.push_back(decodeSeconds);
      continue;
    }
    OTODUS_RETURN_IF_ERROR(addProfile(prefill, before, between, functionName));
    OTODUS_RETURN_IF_ERROR(addProfile(decode, between, session->profile(), functionName));
  }
  if (sgemm) {
    Result<std::vector<double>> seconds = sgemm->round();
    if (!seconds.isOk())
      return seconds.status();
    if (seconds->size() != shapes.size())
      return Status(Code::Internal, "the process with OpenBLAS did not time every product");
    sgemmSeconds.push_back(*seconds);
  }
  return Status::ok();
}

bool DtypeRun::fastBf16() const {
  const formats::Artefact &artefact = loaded.model->artefact();
  if (artefact.dtype != "bf16")
    return false;
  for (const formats::Code &code : loaded.model->program().code)
    if (code.target == loaded.model->target())
      return std::count(code.features.begin(), code.features.end(), "avx512bf16") > 0;
  return false;
}

/// Statistic of `numerator[r] / denominator[r]`: what was measured in the same repeat saw
/// the machine in the same mood.
Json ratioOf(const std::vector<double> &numerator, const std::vector<double> &denominator) {
  std::vector<double> pairs;
  for (size_t r = 0; r < std::min(numerator.size(), denominator.size()); ++r)
    if (denominator[r] > 0)
      pairs.push_back(numerator[r] / denominator[r]);
  return statistic(pairs);
}

std::vector<double> rates(double amount, const std::vector<double> &seconds) {
  std::vector<double> result;
  for (double s : seconds)
    result.push_back(s > 0 ? amount / s : 0);
  return result;
}

Json shareOf(double part, double whole) { return whole > 0 ? Json(part / whole) : Json(nullptr); }

Json DtypeRun::report(const Options &options) const {
  std::vector<double> peak, read;
  for (const Ceilings &c : ceilings) {
    peak.push_back(fastBf16() ? c.bf16Flops : c.fmaFlops);
    read.push_back(c.readBytes);
  }
  double peakMedian = statistic(peak).at("median"), readMedian = statistic(read).at("median");
  const formats::Artefact &artefact = loaded.model->artefact();
  Json run = {{"dtype", artefact.dtype}, {"target", loaded.model->target()}};
  run["start"] = {{"warm", startJson(warm)}, {"cold", startJson(cold)}};

  auto launches = [&](const Phase &phase) {
    Json list = Json::array();
    double all = 0;
    for (const Kind &kind : phase.kinds)
      all += statistic(kind.seconds).at("median").get<double>();
    for (const Kind &kind : phase.kinds) {
      double seconds = statistic(kind.seconds).at("median");
      double bytes = double(kind.work.weightBytes + kind.work.stateBytes);
      double flopRate = seconds > 0 ? double(kind.work.flops) / seconds : 0;
      list.push_back(
          {{"kind", kind.name},
           {"calls", kind.calls},
           {"seconds", statistic(kind.seconds)},
           {"share", shareOf(seconds, all)},
           {"flops", kind.work.flops},
           {"weightBytes", kind.work.weightBytes},
           {"stateBytes", kind.work.stateBytes},
           {"flopsPerSecond", flopRate},
           {"peakShare", kind.work.flops ? shareOf(flopRate, peakMedian) : Json(nullptr)},
           {"bytesPerSecond", seconds > 0 ? bytes / seconds : 0},
           {"readShare", seconds > 0 ? shareOf(bytes / seconds, readMedian) : Json(nullptr)}});
    }
    return list;
  };
  auto total = [](const Phase &phase) {
    LaunchWork work;
    for (const Kind &kind : phase.kinds)
      work += kind.work;
    return work;
  };

  double productFlops = 0;
  std::vector<double> productSeconds(prefill.seconds.size(), 0.0);
  for (const Kind &kind : prefill.kinds)
    if (kind.productFlops > 0) {
      productFlops += double(kind.productFlops);
      for (size_t r = 0; r < productSeconds.size(); ++r)
        productSeconds[r] += kind.seconds[r];
    }
  std::vector<double> productRates = rates(productFlops, productSeconds);
  run["prefill"] = {{"tokensPerSecond", statistic(rates(double(options.prefill), prefill.seconds))},
                    {"seconds", statistic(prefill.seconds)},
                    {"flops", total(prefill).flops},
                    {"peak", fastBf16() ? "bf16 dot peak" : "f32 multiply-add peak"},
                    {"products",
                     {{"flops", productFlops},
                      {"seconds", statistic(productSeconds)},
                      {"flopsPerSecond", statistic(productRates)},
                      {"peakShare", ratioOf(productRates, peak)}}},
                    {"launches", launches(prefill)}};

  LaunchWork decoded = total(decode);
  std::vector<double> weightRates = rates(double(decoded.weightBytes), decode.seconds);
  std::vector<double> byteRates =
      rates(double(decoded.weightBytes + decoded.stateBytes), decode.seconds);
  run["decode"] = {{"tokensPerSecond", statistic(rates(double(options.decode), decode.seconds))},
                   {"seconds", statistic(decode.seconds)},
                   {"weightBytes", decoded.weightBytes},
                   {"stateBytes", decoded.stateBytes},
                   {"weightBytesPerSecond", statistic(weightRates)},
                   {"weightReadShare", ratioOf(weightRates, read)},
                   {"readShare", ratioOf(byteRates, read)},
                   {"launches", launches(decode)}};

  if (!sgemm) {
    run["openblas"] = {{"missing", sgemmMissing}};
  } else {
    Json list = Json::array();
    std::vector<double> oursAll(productSeconds.size(), 0.0), theirsAll(productSeconds.size(), 0.0);
    double flopsAll = 0;
    for (size_t k = 0; k < prefill.kinds.size(); ++k) {
      // A launch may do several products; its time is one.
      const Kind &kind = prefill.kinds[k];
      std::string names;
      double flops = 0;
      std::vector<double> theirs(productSeconds.size(), 0.0);
      for (size_t s = 0; s < shapes.size(); ++s) {
        if (shapeOf[s].kind != k)
          continue;
        names += format("%s%lld x %lld x %lld", names.empty() ? "" : " + ", (long long)shapes[s].m,
                        (long long)shapes[s].n, (long long)shapes[s].k);
        flops += 2.0 * double(shapes[s].m) * double(shapes[s].n) * double(shapes[s].k) *
                 double(shapes[s].calls);
        for (size_t r = 0; r < theirs.size(); ++r)
          theirs[r] += sgemmSeconds[r][s];
      }
      if (names.empty())
        continue;
      flopsAll += flops;
      for (size_t r = 0; r < theirs.size(); ++r) {
        oursAll[r] += kind.seconds[r];
        theirsAll[r] += theirs[r];
      }
      list.push_back({{"kind", kind.name},
                      {"shape", names},
                      {"calls", kind.productCalls},
                      {"ours", statistic(rates(flops, kind.seconds))},
                      {"theirs", statistic(rates(flops, theirs))},
                      {"ratio", ratioOf(theirs, kind.seconds)}});
    }
    run["openblas"] = {{"core", sgemm->core()},
                       {"shapes", list},
                       {"ours", statistic(rates(flopsAll, oursAll))},
                       {"theirs", statistic(rates(flopsAll, theirsAll))},
                       {"ratio", ratioOf(theirsAll, oursAll)}};
  }

  Json memory = warm.front().memory;
  double most = 0, coldMost = 0;
  for (const Start &start : warm)
    most = std::max(most, start.memory.at("peak").get<double>());
  for (const Start &start : cold)
    coldMost = std::max(coldMost, start.memory.at("peak").get<double>());
  memory["peak"] = most;
  memory["coldPeak"] = cold.empty() ? Json(nullptr) : Json(coldMost);
  memory["bound"] =
      1.15 * memory.at("weights").get<double>() + memory.at("state").get<double>() + 150e6;
  run["memory"] = memory;
  return run;
}

//===----------------------------------------------------------------------===//
// The command
//===----------------------------------------------------------------------===//

/// A folder that goes away with it.
struct TemporaryFolder {
  std::string path;
  ~TemporaryFolder() {
    std::error_code error;
    if (!path.empty())
      fs::remove_all(path, error);
  }
};

std::string processorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      if (size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "unknown processor";
}

Status bench(const Options &options) {
  OTODUS_RETURN_IF_ERROR(checkChoice("-o", options.format, {"md", "json"}));
  std::error_code error;
  if (options.model == "-")
    return Status(Code::Usage, "bench reads the model several times, so it cannot come from stdin; "
                               "name a file");
  bool directory = fs::is_directory(options.model, error);
  std::vector<std::string> dtypes = {options.flags.dtype};
  if (options.compare && options.flags.dtype.empty() && directory)
    dtypes = {"f32", "bf16"};

  TemporaryFolder cache;
  std::string pattern = (fs::temp_directory_path(error) / "otodus-bench-XXXXXX").string();
  if (!mkdtemp(pattern.data()))
    return Status(Code::Device,
                  pattern + ": cannot make a folder for compiled models: " + std::strerror(errno));
  cache.path = pattern;

  Interruptible interruptible;
  Progress progress;
  std::vector<DtypeRun> runs(dtypes.size());
  for (size_t i = 0; i < dtypes.size(); ++i) {
    // The first start fills the cache of those that follow.
    progress.show("starting cold");
    Result<Start> fill = measureStart(options, dtypes[i], "--cache-dir=" + cache.path);
    if (!fill.isOk())
      return fill.status();
    if (fill->compile + fill->import > 0)
      runs[i].cold.push_back(std::move(*fill));
  }
  for (int r = 0; r < options.repeats; ++r)
    for (size_t i = 0; i < dtypes.size(); ++i) {
      OTODUS_RETURN_IF_ERROR(checkInterrupt());
      progress.show(format("starting, %d of %d", r + 1, options.repeats));
      // Compiling takes seconds; three of them tell enough.
      if (!runs[i].cold.empty() && runs[i].cold.size() < size_t(std::min(options.repeats, 3))) {
        Result<Start> cold = measureStart(options, dtypes[i], "--no-cache");
        if (!cold.isOk())
          return cold.status();
        runs[i].cold.push_back(std::move(*cold));
      }
      Result<Start> warm = measureStart(options, dtypes[i], "--cache-dir=" + cache.path);
      if (!warm.isOk())
        return warm.status();
      runs[i].warm.push_back(std::move(*warm));
    }

  for (size_t i = 0; i < dtypes.size(); ++i)
    OTODUS_RETURN_IF_ERROR(runs[i].open(options, dtypes[i], cache.path));
  Result<std::unique_ptr<CeilingMeter>> meter =
      CeilingMeter::create(runs.front().loaded.pool, size_t(options.readMegabytes) << 20);
  if (!meter.isOk())
    return meter.status();

  // Once to warm up, which is thrown away.
  (*meter)->measure();
  for (DtypeRun &run : runs) {
    std::vector<float> logits;
    OTODUS_RETURN_IF_ERROR(feed(*run.session, run.functions,
                                randomTokens(options.prefill, run.functions.vocabulary, 4),
                                &logits));
  }
  for (int r = 0; r < options.repeats; ++r) {
    progress.show(format("measuring, %d of %d", r + 1, options.repeats));
    for (DtypeRun &run : runs) {
      OTODUS_RETURN_IF_ERROR(checkInterrupt());
      run.ceilings.push_back((*meter)->measure());
      OTODUS_RETURN_IF_ERROR(run.repeat(options));
    }
  }

  std::string command = "otodus bench " + options.model;
  if (!options.flags.dtype.empty())
    command += " --dtype=" + options.flags.dtype;
  if (options.flags.target != "cpu")
    command += " --target=" + options.flags.target;
  command += format(" --threads=%d --prefill=%lld --decode=%lld --repeats=%d",
                    runs.front().loaded.pool->threads(), (long long)options.prefill,
                    (long long)options.decode, options.repeats);
  if (options.compare)
    command += " --compare";
  Json result = {{"program", versionString() + ", LLVM " + llvmVersion()},
                 {"command", command},
                 {"label", options.label},
                 {"processor", processorName()},
                 {"threads", runs.front().loaded.pool->threads()},
                 {"repeats", options.repeats},
                 {"prefillTokens", options.prefill},
                 {"decodeTokens", options.decode}};
  std::vector<double> read, fma, bf16;
  for (const DtypeRun &run : runs)
    for (const Ceilings &c : run.ceilings) {
      read.push_back(c.readBytes);
      fma.push_back(c.fmaFlops);
      if (c.bf16Flops > 0)
        bf16.push_back(c.bf16Flops);
    }
  for (const std::vector<double> *values : {&read, &fma}) {
    auto [least, most] = std::minmax_element(values->begin(), values->end());
    if (*most > 1.3 * *least) {
      note("the machine's limits change by more than 30 % between repeats: something else runs "
           "here, "
           "so take the shares with care");
      break;
    }
  }
  result["ceilings"] = {{"vectors", (*meter)->vectors()},
                        {"readBufferBytes", (*meter)->bytes()},
                        {"read", statistic(read)},
                        {"fma", statistic(fma)},
                        {"bf16", statistic(bf16)}};
  result["runs"] = Json::array();
  for (const DtypeRun &run : runs)
    result["runs"].push_back(run.report(options));
  result["goals"] = judgeGoals(result);
  if (options.format == "json")
    return writeStdout(result.dump(2) + "\n");
  return writeStdout(options.compare ? goalTable(result) : benchTables(result));
}

} // namespace

void addBench(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub =
      app.add_subcommand("bench", "speed and memory of a model against the machine's limits");
  sub->add_option("MODEL", options->model, "model directory, .mlir file or artefact (.oto)")
      ->required();
  sub->add_option("--prefill", options->prefill, "tokens of the prompt (default 512)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 24));
  sub->add_option("--decode", options->decode, "tokens decoded one by one after it (default 32)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 24));
  sub->add_option("--repeats", options->repeats,
                  "interleaved repeats; medians are printed (default 7)")
      ->check(CLI::Range(1, 1000));
  sub->add_flag(
      "--compare", options->compare,
      "print only the project's floors, met or missed; f32 and bf16 unless --dtype chooses");
  sub->add_option("-o,--format", options->format, "md (default) or json, which has everything");
  sub->add_option("--label", options->label, "goes into the report, e.g. the commit");
  sub->add_option("--read-mb", options->readMegabytes,
                  "memory for the read ceiling (default: 1024, or 4 x the last cache)")
      ->check(CLI::NonNegativeNumber);
  // Processes that bench starts itself.
  sub->add_option("--child", options->child)->group("");
  addRunFlags(*sub, options->flags);
  sub->footer(
      "Compiled models are kept in a folder of this run's own. OpenBLAS, where libopenblas.so.0\n"
      "is installed, does the same products in a process of its own.\n\n"
      "Examples:\n"
      "  otodus bench DIR\n"
      "  otodus bench DIR --dtype=bf16 --threads=1 -o json\n"
      "  otodus bench DIR --compare --label=$(git rev-parse --short HEAD)");
  sub->callback([options, &action] {
    action = [options] {
      if (options->child == "start")
        return serveStart(*options);
      if (options->child == "sgemm")
        return serveSgemm(options->flags.threads);
      return bench(*options);
    };
  });
}

} // namespace otodus::driver
