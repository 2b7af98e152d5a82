//===- BenchReport.h - What `otodus bench` prints ----------------------------===//
//
// Everything measured is one JSON object; the tables are made from it, so they cannot
// say anything else.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace otodus::driver {

/// {"median", "min", "max", "samples"} of the values, samples as given; null for none.
nlohmann::ordered_json statistic(std::vector<double> values);

/// The floors that can be judged from `result`: a list of {"goal", "floor", "value",
/// "unit", "met"}; value and met are null, with a "why", where nothing was measured.
nlohmann::ordered_json judgeGoals(const nlohmann::ordered_json &result);

/// All tables as Markdown.
std::string benchTables(const nlohmann::ordered_json &result);
/// The table of result["goals"] alone.
std::string goalTable(const nlohmann::ordered_json &result);

} // namespace otodus::driver
