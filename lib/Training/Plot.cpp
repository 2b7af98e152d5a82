//===- Plot.cpp - Loss curves ----------------------------------------------===//

#include "otodus/Training/Plot.h"
#include "otodus/Formats/OutputFile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <limits>

namespace otodus::training {

Result<LossCurve> readLossCurve(const std::string &path) {
  std::error_code error;
  std::string file = std::filesystem::is_directory(path, error) ? path + "/log.jsonl" : path;
  Result<std::string> text = formats::readFile(file);
  if (!text.isOk())
    return text.status();
  LossCurve curve;
  curve.name = path;
  int64_t number = 0;
  for (size_t at = 0; at < text->size();) {
    ++number;
    size_t end = text->find('\n', at);
    bool whole = end != std::string::npos;
    std::string line = text->substr(at, whole ? end - at : std::string::npos);
    at = whole ? end + 1 : text->size();
    nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) {
      if (!whole)
        break;
      return Status(Code::Input, file + ":" + std::to_string(number) +
                                     ": expected a line of a training log, an object with a 'step'");
    }
    int64_t step = object["step"].get<int64_t>();
    auto take = [&](const char *key, auto &points) {
      // Losses that are no numbers are text and have no place in a plot.
      if (auto found = object.find(key); found != object.end() && found->is_number())
        points.emplace_back(step, found->template get<double>());
    };
    take("loss", curve.training);
    take("validation_loss", curve.validation);
  }
  if (curve.training.empty() && curve.validation.empty())
    return Status(Code::Input, file + ": expected losses, but the log has none");
  return curve;
}

namespace {

constexpr double kWidth = 900, kHeight = 520, kLeft = 64, kRight = 20, kTop = 24, kBottom = 48;

std::string escape(const std::string &text) {
  std::string result;
  for (char c : text)
    result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return result;
}

[[gnu::format(printf, 1, 2)]] std::string format(const char *pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  char buffer[512];
  std::vsnprintf(buffer, sizeof buffer, pattern, arguments);
  va_end(arguments);
  return buffer;
}

/// A step of 1, 2 or 5 times a power of ten that cuts `range` into about `count` parts.
double niceStep(double range, int count) {
  double raw = range / count, power = std::pow(10, std::floor(std::log10(raw)));
  double fraction = raw / power;
  return power * (fraction < 1.5 ? 1 : fraction < 3.5 ? 2 : fraction < 7.5 ? 5 : 10);
}

/// Mean over about 2 % of the steps on both sides.
std::vector<std::pair<int64_t, double>> smooth(const std::vector<std::pair<int64_t, double>> &points) {
  int64_t count = static_cast<int64_t>(points.size()), reach = std::max<int64_t>(1, count / 50);
  std::vector<double> sums(points.size() + 1, 0);
  for (int64_t i = 0; i < count; ++i)
    sums[i + 1] = sums[i] + points[i].second;
  std::vector<std::pair<int64_t, double>> result;
  for (int64_t i = 0; i < count; ++i) {
    // The same reach on both sides, so that a falling curve is not shifted.
    int64_t r = std::min({reach, i, count - 1 - i});
    result.emplace_back(points[i].first, (sums[i + r + 1] - sums[i - r]) / double(2 * r + 1));
  }
  return result;
}

} // namespace

std::string plotSvg(const std::vector<LossCurve> &curves) {
  static const char *colours[] = {"#1f6fb4", "#d1602b", "#3a9a4c", "#8c4fb0", "#b8932a", "#50a0a8"};
  double low = std::numeric_limits<double>::infinity(), high = -low;
  int64_t first = 0, last = 1;
  for (const LossCurve &curve : curves) {
    const std::vector<std::pair<int64_t, double>> smoothed = smooth(curve.training);
    // Single steps may leave the picture; what is smooth, and the first losses, may not.
    for (const auto *points : {&smoothed, &curve.validation})
      for (auto [step, loss] : *points) {
        low = std::min(low, loss);
        high = std::max(high, loss);
        last = std::max(last, step);
      }
  }
  if (!(high > low)) {
    low -= 0.5;
    high = low + 1;
  }
  double yStep = niceStep(high - low, 8);
  low = std::floor(low / yStep) * yStep;
  high = std::ceil(high / yStep) * yStep;
  auto x = [&](int64_t step) {
    return kLeft + (kWidth - kLeft - kRight) * double(step - first) / double(last - first);
  };
  auto y = [&](double loss) {
    return kTop + (kHeight - kTop - kBottom) * (high - loss) / (high - low);
  };

  std::string svg = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
      "<clipPath id=\"area\"><rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"/></clipPath>\n",
      kWidth, kHeight, kWidth, kHeight, kLeft, kTop, kWidth - kLeft - kRight,
      kHeight - kTop - kBottom);
  for (double value = low; value <= high + yStep / 2; value += yStep)
    svg += format("<line x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                  "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                  kLeft, kWidth - kRight, y(value), y(value), kLeft - 8, y(value) + 4,
                  std::abs(value) < yStep / 1e6 ? 0 : value);
  double xStep = std::max(1.0, niceStep(double(last - first), 8));
  for (double value = 0; value <= double(last); value += xStep)
    svg += format("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\" stroke=\"#eee\"/>"
                  "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%.0f</text>\n",
                  x(int64_t(value)), x(int64_t(value)), kTop, kHeight - kBottom, x(int64_t(value)),
                  kHeight - kBottom + 18, value);
  svg += format("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">step</text>\n", kWidth / 2,
                kHeight - 8);
  svg += format("<text x=\"16\" y=\"%g\" transform=\"rotate(-90 16 %g)\" "
                "text-anchor=\"middle\">loss (nats per token)</text>\n",
                kHeight / 2, kHeight / 2);

  auto line = [&](const std::vector<std::pair<int64_t, double>> &points, const std::string &style) {
    if (points.empty())
      return;
    svg += "<polyline clip-path=\"url(#area)\" fill=\"none\" " + style + " points=\"";
    // More points than the picture has columns cannot be seen.
    size_t stride = std::max<size_t>(1, points.size() / 2000);
    for (size_t i = 0; i < points.size(); i += stride)
      svg += format("%.1f,%.1f ", x(points[i].first), y(points[i].second));
    svg += "\"/>\n";
  };
  double legend = kTop + 14;
  for (size_t i = 0; i < curves.size(); ++i) {
    const LossCurve &curve = curves[i];
    std::string colour = colours[i % std::size(colours)];
    line(curve.training, "stroke=\"" + colour + "\" stroke-opacity=\"0.25\"");
    line(smooth(curve.training), "stroke=\"" + colour + "\" stroke-width=\"1.5\"");
    line(curve.validation, "stroke=\"" + colour + "\" stroke-width=\"2\" stroke-dasharray=\"5 3\"");
    for (auto [step, loss] : curve.validation)
      svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x(step), y(loss),
                    colour.c_str());
    std::string label = curve.name;
    if (!curve.training.empty())
      label += format(": training %.3f", smooth(curve.training).back().second);
    if (!curve.validation.empty()) {
      auto best = std::min_element(curve.validation.begin(), curve.validation.end(),
                                   [](auto &a, auto &b) { return a.second < b.second; });
      label += format(", validation %.4f (best %.4f at step %lld)", curve.validation.back().second,
                      best->second, static_cast<long long>(best->first));
    }
    svg += format("<text x=\"%g\" y=\"%g\" text-anchor=\"end\" fill=\"%s\">", kWidth - kRight - 8,
                  legend, colour.c_str()) +
           escape(label) + "</text>\n";
    legend += 16;
  }
  return svg + "</svg>\n";
}

} // namespace otodus::training
