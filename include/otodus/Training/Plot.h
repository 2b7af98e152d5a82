//===- Plot.h - Loss curves ------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace otodus::training {

/// What a log (RunFolder.h) says about the loss; steps rise.
struct LossCurve {
  std::string name;
  std::vector<std::pair<int64_t, double>> training, validation; ///< step, nats
};

/// Reads a log, or the log of a run's folder. Lines that are no objects with a step are an
/// error "file:line: …" (Code::Input), but for an unfinished last line. Code::File;
/// Code::Input if there is no loss in it.
Result<LossCurve> readLossCurve(const std::string &path);

/// An SVG picture with the curves: training loss as measured (thin) and smoothed, validation
/// loss as points with its least value marked. Curves of several runs get colours of their own.
std::string plotSvg(const std::vector<LossCurve> &curves);

} // namespace otodus::training
