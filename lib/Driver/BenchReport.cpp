//===- BenchReport.cpp - What `otodus bench` prints --------------------------===//

#include "BenchReport.h"

#include "Output.h"

#include <algorithm>

namespace otodus::driver {

using Json = nlohmann::ordered_json;

Json statistic(std::vector<double> values) {
  if (values.empty())
    return nullptr;
  Json samples = values;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  double median = values.size() % 2 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
  return {
      {"median", median}, {"min", values.front()}, {"max", values.back()}, {"samples", samples}};
}

namespace {

double median(const Json &stat) { return stat.is_null() ? 0.0 : stat.at("median").get<double>(); }

std::string number(double value, int digits) { return format("%.*f", digits, value); }

/// "12.3 | 11.9 – 13.0", scaled.
std::string spread(const Json &stat, double scale, int digits) {
  if (stat.is_null())
    return "- | -";
  return number(stat.at("median").get<double>() * scale, digits) + " | " +
         number(stat.at("min").get<double>() * scale, digits) + " – " +
         number(stat.at("max").get<double>() * scale, digits);
}

std::string line(const std::string &what, const Json &stat, double scale, int digits) {
  return "| " + what + " | " + spread(stat, scale, digits) + " |\n";
}

std::string header(const std::vector<std::string> &columns) {
  std::string names = "|", rule = "|";
  for (const std::string &column : columns) {
    names += " " + column + " |";
    rule += &column == &columns.front() ? "---|" : "--:|";
  }
  return names + "\n" + rule + "\n";
}

/// A share as "87 %", "" if it makes no sense.
std::string percent(const Json &value) {
  return value.is_null() ? "" : format("%.0f %%", 100 * value.get<double>());
}

std::string launchTable(const Json &phase, bool decode, const std::string &perWhat,
                        double divisor) {
  std::string out = decode ? header({"launch", "calls", "ms " + perWhat, "min – max", "share",
                                     "weights MB", "state MB", "GB/s", "of read"})
                           : header({"launch", "calls", "ms " + perWhat, "min – max", "share",
                                     "GFLOP", "GFLOP/s", "of peak"});
  for (const Json &launch : phase.at("launches")) {
    out += "| " + launch.at("kind").get<std::string>() + " | " +
           number(launch.at("calls").get<double>() / divisor, 0) + " | " +
           spread(launch.at("seconds"), 1e3 / divisor, 3) + " | " + percent(launch.at("share"));
    double flops = launch.at("flops").get<double>();
    if (decode)
      out += " | " + number(launch.at("weightBytes").get<double>() / divisor * 1e-6, 2) + " | " +
             number(launch.at("stateBytes").get<double>() / divisor * 1e-6, 2) + " | " +
             number(launch.at("bytesPerSecond").get<double>() * 1e-9, 1) + " | " +
             percent(launch.at("readShare"));
    else
      out += " | " + (flops > 0 ? number(flops * 1e-9, 2) : "") + " | " +
             (flops > 0 ? number(launch.at("flopsPerSecond").get<double>() * 1e-9, 1) : "") +
             " | " + percent(launch.at("peakShare"));
    out += " |\n";
  }
  return out;
}

std::string runTables(const Json &result, const Json &run) {
  const Json &prefill = run.at("prefill"), &decode = run.at("decode"), &start = run.at("start");
  long long prefillTokens = result.at("prefillTokens").get<long long>();
  long long decodeTokens = result.at("decodeTokens").get<long long>();
  std::string dtype = run.at("dtype").get<std::string>();
  std::string out = "\n## " + dtype + ", " + run.at("target").get<std::string>() + "\n\n";

  out += header({"what", "median", "min – max"});
  out +=
      line(format("prefill of %lld, tokens/s", prefillTokens), prefill.at("tokensPerSecond"), 1, 1);
  out += line(format("decode of %lld, tokens/s", decodeTokens), decode.at("tokensPerSecond"), 1, 2);
  out += line("products in prefill, GFLOP/s", prefill.at("products").at("flopsPerSecond"), 1e-9, 1);
  out += line("the same, % of " + prefill.at("peak").get<std::string>(),
              prefill.at("products").at("peakShare"), 100, 1);
  out += line("decode, weights read, GB/s", decode.at("weightBytesPerSecond"), 1e-9, 2);
  out += line("the same, % of plain read", decode.at("weightReadShare"), 100, 1);
  out += line("the same with carried state", decode.at("readShare"), 100, 1);
  const Json &warm = start.at("warm"), &cold = start.at("cold");
  out += line("warm start to first token, s", warm.at("firstToken"), 1, 3);
  out += line("- of it opening and preparing weights, s", warm.at("open"), 1, 3);
  if (!cold.is_null()) {
    out += line("cold start to first token, s", cold.at("firstToken"), 1, 3);
    out += line("- of it import, s", cold.at("import"), 1, 3);
    out += line("- of it compile, s", cold.at("compile"), 1, 3);
    out += line("- of it opening and preparing weights, s", cold.at("open"), 1, 3);
  }

  out += format("\nLaunches of a prefill of %lld tokens, all layers together:\n\n", prefillTokens);
  out += launchTable(prefill, false, "in all", 1);
  out += "\nLaunches of a decoded token:\n\n";
  out += launchTable(decode, true, "a token", double(decodeTokens));

  const Json &openblas = run.at("openblas");
  if (openblas.contains("missing")) {
    out += "\nNo comparison with OpenBLAS: " + openblas.at("missing").get<std::string>() + ".\n";
  } else {
    out += "\nThe same products by OpenBLAS in f32 (kernels: " +
           openblas.at("core").get<std::string>() +
           ", separate process, turns taken; ours includes norms, activations, gates and residuals "
           "that are fused in):\n\n";
    out += header({"launch", "M x N x K", "ours GFLOP/s", "OpenBLAS GFLOP/s", "ours / OpenBLAS",
                   "min – max"});
    for (const Json &shape : openblas.at("shapes"))
      out += "| " + shape.at("kind").get<std::string>() + " | " +
             shape.at("shape").get<std::string>() + " | " +
             number(median(shape.at("ours")) * 1e-9, 1) + " | " +
             number(median(shape.at("theirs")) * 1e-9, 1) + " | " +
             spread(shape.at("ratio"), 1, 2) + " |\n";
    out += "| all | | " + number(median(openblas.at("ours")) * 1e-9, 1) + " | " +
           number(median(openblas.at("theirs")) * 1e-9, 1) + " | " +
           spread(openblas.at("ratio"), 1, 2) + " |\n";
  }

  const Json &memory = run.at("memory");
  auto megabytes = [&](const char *key) { return number(memory.at(key).get<double>() * 1e-6, 1); };
  out += "\n" + header({"memory", "MB"});
  out += "| peak, from the cache | " + megabytes("peak") + " |\n";
  if (!memory.at("coldPeak").is_null())
    out += "| peak, compiling first | " + megabytes("coldPeak") + " |\n";
  out += "| weights in " + dtype + " | " + megabytes("weights") + " |\n| state | " +
         megabytes("state") + " |\n| 1.15 x weights + state + 150 MB | " + megabytes("bound") +
         " |\n";
  return out;
}

Json goal(const std::string &name, double floor, const char *unit, double value,
          bool atMost = false) {
  return {{"goal", name},     {"floor", floor}, {"unit", unit},
          {"atMost", atMost}, {"value", value}, {"met", atMost ? value <= floor : value >= floor}};
}

Json unknown(const std::string &name, double floor, const char *unit, const std::string &why) {
  return {{"goal", name},     {"floor", floor}, {"unit", unit}, {"atMost", false},
          {"value", nullptr}, {"met", nullptr}, {"why", why}};
}

} // namespace

Json judgeGoals(const Json &result) {
  Json goals = Json::array();
  const Json *f32 = nullptr, *bf16 = nullptr;
  for (const Json &run : result.at("runs"))
    (run.at("dtype") == "bf16" ? bf16 : f32) = &run;

  std::string name = "f32 products in prefill / OpenBLAS";
  if (!f32)
    goals.push_back(unknown(name, 0.8, "x", "f32 was not run"));
  else if (f32->at("openblas").contains("missing"))
    goals.push_back(unknown(name, 0.8, "x", f32->at("openblas").at("missing")));
  else
    goals.push_back(goal(name, 0.8, "x", median(f32->at("openblas").at("ratio"))));

  name = "bf16 products in prefill / f32 products";
  if (result.at("ceilings").at("bf16").is_null())
    goals.push_back(unknown(name, 1.5, "x", "this processor has no AVX512-BF16"));
  else if (!f32 || !bf16)
    goals.push_back(unknown(name, 1.5, "x", "needs both types"));
  else {
    auto rates = [](const Json &run) {
      const Json &rate = run.at("prefill").at("products").at("flopsPerSecond");
      return rate.is_null() ? std::vector<double>() : rate.at("samples").get<std::vector<double>>();
    };
    std::vector<double> slow = rates(*f32), ratios = rates(*bf16);
    bool known = !ratios.empty() && ratios.size() == slow.size();
    for (size_t r = 0; known && r < ratios.size(); ++r) {
      known = slow[r] > 0;
      ratios[r] /= known ? slow[r] : 1;
    }
    goals.push_back(known ? goal(name, 1.5, "x", median(statistic(ratios)))
                          : unknown(name, 1.5, "x", "the model has no products"));
  }

  for (const Json &run : result.at("runs")) {
    std::string dtype = run.at("dtype").get<std::string>();
    goals.push_back(goal(dtype + " decode, weights read / plain read", 75, "%",
                         100 * median(run.at("decode").at("weightReadShare"))));
  }
  for (const Json &run : result.at("runs")) {
    const Json &memory = run.at("memory");
    double peak = memory.at("peak").get<double>();
    if (!memory.at("coldPeak").is_null())
      peak = std::max(peak, memory.at("coldPeak").get<double>());
    goals.push_back(
        goal(run.at("dtype").get<std::string>() + " peak memory; 1.15 x weights + state + 150 MB",
             memory.at("bound").get<double>() * 1e-6, "MB", peak * 1e-6, true));
  }
  return goals;
}

std::string goalTable(const Json &result) {
  std::string out = header({"goal", "floor", "measured", "verdict"});
  for (const Json &goal : result.at("goals")) {
    std::string unit = goal.at("unit").get<std::string>();
    int digits = unit == "x" ? 2 : unit == "%" ? 1 : 0;
    auto show = [&](double value) {
      return number(value, digits) + (unit == "x" ? "" : " ") + unit;
    };
    out += "| " + goal.at("goal").get<std::string>() + " | " +
           (goal.at("atMost").get<bool>() ? "≤ " : "≥ ") + show(goal.at("floor").get<double>()) +
           " | ";
    if (goal.at("value").is_null())
      out += "- | not measured: " + goal.at("why").get<std::string>() + " |\n";
    else
      out += show(goal.at("value").get<double>()) + " | " +
             (goal.at("met").get<bool>() ? "met" : "missed") + " |\n";
  }
  return out;
}

std::string benchTables(const Json &result) {
  auto text = [&](const char *key) { return result.at(key).get<std::string>(); };
  std::string out = "# " + text("command") + "\n\n" + text("program") +
                    (text("label").empty() ? "" : ", " + text("label")) + "; " + text("processor") +
                    format(", %d threads; medians of %d interleaved repeats\n\n",
                           result.at("threads").get<int>(), result.at("repeats").get<int>());
  const Json &ceilings = result.at("ceilings");
  out += header({"ceiling", "median", "min – max"});
  out += line(
      format("plain read of %.0f MB, GB/s", ceilings.at("readBufferBytes").get<double>() * 1e-6),
      ceilings.at("read"), 1e-9, 1);
  out += line("f32 multiply-add (" + ceilings.at("vectors").get<std::string>() + "), GFLOP/s",
              ceilings.at("fma"), 1e-9, 1);
  if (!ceilings.at("bf16").is_null())
    out += line("bf16 dot (AVX512-BF16), GFLOP/s", ceilings.at("bf16"), 1e-9, 1);
  for (const Json &run : result.at("runs"))
    out += runTables(result, run);
  out += "\n## Floors\n\n" + goalTable(result);
  return out;
}

} // namespace otodus::driver
