//===- Json.cpp - JSON with places in its errors ---------------------------===//

#include "Json.h"

#include <algorithm>
#include <set>
#include <vector>

using namespace otodus;
using namespace otodus::formats;
using nlohmann::json;

namespace {
/// "line:column" of byte `at` (0-based) of `text`, both counted from 1.
std::string placeOf(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  size_t line = 1, start = 0;
  for (size_t i = 0; i < at; ++i)
    if (text[i] == '\n') {
      ++line;
      start = i + 1;
    }
  return std::to_string(line) + ":" + std::to_string(at - start + 1);
}

/// Builds a document and refuses what nlohmann's own builder lets pass: duplicate keys, of
/// which it keeps the last, and any depth of nesting.
class Builder : public nlohmann::detail::json_sax_dom_parser<json> {
  using Base = nlohmann::detail::json_sax_dom_parser<json>;

public:
  explicit Builder(json &root) : Base(root, /*allow_exceptions_=*/false) {}

  std::string error; ///< empty: none
  size_t errorByte = 0;
  bool hasPlace = false;

  bool start_object(size_t size) {
    keys_.emplace_back();
    return deeper() && Base::start_object(size);
  }
  bool end_object() {
    keys_.pop_back();
    --depth_;
    return Base::end_object();
  }
  bool start_array(size_t size) { return deeper() && Base::start_array(size); }
  bool end_array() {
    --depth_;
    return Base::end_array();
  }
  bool key(std::string &name) {
    if (!keys_.back().insert(name).second) {
      error = inQuotes(name) + " appears twice in one object";
      return false;
    }
    return Base::key(name);
  }
  template <typename Exception>
  bool parse_error(size_t byte, const std::string &, const Exception &exception) {
    errorByte = byte;
    hasPlace = true;
    // "[json.exception...] parse error at line 1, column 2: why"
    std::string_view what = exception.what();
    size_t at = what.find("column ");
    size_t colon = at == what.npos ? what.npos : what.find(": ", at);
    if (colon == what.npos)
      colon = what.find("] ");
    error = std::string(colon == what.npos ? what : what.substr(colon + 2));
    return false;
  }

private:
  bool deeper() {
    if (++depth_ <= 64)
      return true;
    error = "nested deeper than 64 levels";
    return false;
  }
  int depth_ = 0;
  std::vector<std::set<std::string>> keys_;
};
} // namespace

Result<json> formats::parseJson(std::string_view text, const std::string &name, Code code) {
  json root;
  Builder builder(root);
  bool ok = json::sax_parse(text.begin(), text.end(), &builder);
  if (ok && builder.error.empty())
    return root;
  if (!builder.hasPlace)
    return Status(code, name + ": invalid JSON: " + builder.error);
  size_t at = builder.errorByte ? builder.errorByte - 1 : 0;
  std::string why = builder.error;
  for (char &c : why)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e)
      c = '?';
  if (why.size() > 300)
    why = why.substr(0, 300) + "...";
  return Status(code, name + ":" + placeOf(text, at) + ": invalid JSON: " + why);
}

std::string formats::dumpJson(const nlohmann::ordered_json &value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false,
                    nlohmann::ordered_json::error_handler_t::replace);
}

const char *formats::kindOf(const json &value) {
  switch (value.type()) {
  case json::value_t::null:
    return "null";
  case json::value_t::object:
    return "an object";
  case json::value_t::array:
    return "an array";
  case json::value_t::string:
    return "a string";
  case json::value_t::boolean:
    return "true or false";
  case json::value_t::number_integer:
  case json::value_t::number_unsigned:
    return "an integer";
  case json::value_t::number_float:
    return "a fraction";
  default:
    return "something else";
  }
}

std::string formats::inQuotes(std::string_view text) {
  static const char *digits = "0123456789abcdef";
  std::string out = "'";
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 120) {
      out += "...";
      break;
    }
    unsigned char c = text[i];
    if (c >= 0x20 && c < 0x7f) {
      out += text[i];
    } else {
      out += "\\x";
      out += digits[c >> 4];
      out += digits[c & 15];
    }
  }
  return out + "'";
}
