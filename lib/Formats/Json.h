//===- Json.h - JSON with places in its errors -----------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace otodus::formats {

/// `text` as JSON. Errors with `code`: "name:line:column: why" for
/// invalid JSON, duplicate keys and text after the end. UTF-8 is checked.
Result<nlohmann::json> parseJson(std::string_view text, const std::string &name, Code code);

/// JSON text of `value`; bytes that are not UTF-8 are replaced.
std::string dumpJson(const nlohmann::ordered_json &value, int indent = -1);

/// "a number", "a string" ...
const char *kindOf(const nlohmann::json &value);

/// `text` for a message: control characters and other non-ASCII bytes escaped, long text cut.
std::string inQuotes(std::string_view text);

} // namespace otodus::formats
