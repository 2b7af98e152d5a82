//===- TrainConfig.cpp - What a training run is told -----------------------===//

#include "otodus/Training/TrainConfig.h"
#include "otodus/Formats/OutputFile.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 1
#include <nlohmann/json.hpp>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>

namespace otodus::training {

using nlohmann::json;

namespace {

std::string inQuotes(std::string_view text) { return "'" + std::string(text) + "'"; }

std::string kindOf(const toml::node &node) {
  switch (node.type()) {
  case toml::node_type::table:
    return "a table";
  case toml::node_type::array:
    return "an array";
  case toml::node_type::string:
    return "a string";
  case toml::node_type::integer:
    return "an integer";
  case toml::node_type::floating_point:
    return "a number";
  case toml::node_type::boolean:
    return "true or false";
  default:
    return "a date or time";
  }
}

/// A number as its shortest text.
std::string textOf(double value) { return json(value).dump(); }

/// Takes the values out of a configuration and collects everything that is wrong.
class Reader {
public:
  Reader(toml::table &root, std::string filename) : root_(root), filename_(std::move(filename)) {}

  /// Where `node` was written: "line:column: ", or "" for what nobody wrote.
  std::string where(const toml::node *node) const {
    if (!node || !node->source().begin)
      return "";
    std::string name = node->source().path && *node->source().path != filename_
                           ? *node->source().path
                           : std::to_string(node->source().begin.line) + ":" +
                                 std::to_string(node->source().begin.column);
    return name + ": ";
  }
  void problem(const toml::node *node, const std::string &message) {
    std::pair<uint32_t, uint32_t> place;
    if (node && node->source().begin)
      place = {node->source().begin.line, node->source().begin.column};
    problems_.push_back({place, where(node) + message});
  }
  void problemAt(const std::string &key, const std::string &message) {
    problem(find(key), message);
  }

  const toml::node *find(const std::string &key) const {
    return root_.at_path(key).node();
  }
  bool has(const std::string &key) const { return find(key) != nullptr; }

  /// Every known key is asked for once.
  const toml::node *take(const std::string &key) {
    known_.push_back(key);
    return find(key);
  }

  void text(const std::string &key, std::string &field) {
    if (const toml::node *node = take(key)) {
      if (auto value = node->value_exact<std::string>())
        field = *value;
      else
        wrong(key, node, "a string");
    }
  }
  void integer(const std::string &key, int64_t &field, int64_t least,
               int64_t most = int64_t(1) << 40) {
    const toml::node *node = take(key);
    if (!node)
      return;
    std::optional<int64_t> value = node->value_exact<int64_t>();
    if (!value)
      return wrong(key, node, "an integer");
    if (*value < least || *value > most)
      return problem(node, key + " must be between " + std::to_string(least) + " and " +
                               std::to_string(most) + ", found " + std::to_string(*value));
    field = *value;
  }
  /// In [least, most], or (least, most] with `open`.
  void number(const std::string &key, double &field, double least, double most,
              bool open = false) {
    const toml::node *node = take(key);
    if (!node)
      return;
    double value;
    if (auto real = node->value_exact<double>())
      value = *real;
    else if (auto whole = node->value_exact<int64_t>())
      value = static_cast<double>(*whole);
    else
      return wrong(key, node, "a number");
    if (!(open ? value > least : value >= least) || !(value <= most))
      return problem(node, key + " must be " + (open ? "above " : "at least ") + textOf(least) +
                               " and at most " + textOf(most) + ", found " + textOf(value));
    field = value;
  }
  /// Bytes: an integer, or a string with a unit.
  void bytes(const std::string &key, int64_t &field) {
    const toml::node *node = take(key);
    if (!node)
      return;
    std::string text;
    if (auto whole = node->value_exact<int64_t>())
      text = std::to_string(*whole);
    else if (auto value = node->value_exact<std::string>())
      text = *value;
    else
      return wrong(key, node, "a number of bytes or a string such as \"8GB\"");
    Result<int64_t> value = parseBytes(text);
    if (!value.isOk())
      return problem(node, key + " " + value.status().message());
    field = *value;
  }
  void texts(const std::string &key, std::vector<std::string> &field) {
    const toml::node *node = take(key);
    if (!node)
      return;
    if (auto one = node->value_exact<std::string>()) {
      field = {*one};
      return;
    }
    const toml::array *array = node->as_array();
    if (!array)
      return wrong(key, node, "a string or an array of strings");
    field.clear();
    for (const toml::node &element : *array) {
      if (auto value = element.value_exact<std::string>())
        field.push_back(*value);
      else
        problem(&element, key + " must hold strings, found " + kindOf(element));
    }
  }
  template <typename Enum>
  void choice(const std::string &key, Enum &field,
              const std::vector<std::pair<std::string, Enum>> &choices) {
    const toml::node *node = take(key);
    if (!node)
      return;
    std::optional<std::string> value = node->value_exact<std::string>();
    if (!value)
      return wrong(key, node, "a string");
    std::string names;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (choices[i].first == *value) {
        field = choices[i].second;
        return;
      }
      names += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i].first;
    }
    problem(node, key + " must be " + names + ", found " + inQuotes(*value));
  }

  /// Complains about keys nobody asked for. Tables in `open` are somebody else's.
  void unknownKeys(const std::vector<std::string> &open) {
    std::vector<std::string> sections = open;
    for (const std::string &key : known_)
      sections.push_back(key.substr(0, key.find('.')));
    for (auto &&[name, node] : root_) {
      std::string section(name.str());
      if (std::find(open.begin(), open.end(), section) != open.end())
        continue;
      const toml::table *table = node.as_table();
      if (!table || std::find(sections.begin(), sections.end(), section) == sections.end()) {
        // A key of some section at the top is a common slip.
        std::string home;
        for (const std::string &key : known_)
          if (key.substr(key.find('.') + 1) == section)
            home = key.substr(0, key.find('.'));
        std::string near = formats::nearestWord(section, sections);
        problem(&node, (table ? "unknown section [" : "unknown key ") + section +
                           (table ? "]" : "") +
                           (!home.empty() ? "; it belongs into [" + home + "]"
                            : !near.empty() ? "; did you mean [" + near + "]?" : ""));
        continue;
      }
      for (auto &&[inner, value] : *table) {
        std::string key = section + "." + std::string(inner.str());
        if (std::find(known_.begin(), known_.end(), key) != known_.end())
          continue;
        std::string near = formats::nearestWord(key, known_);
        problem(&value, "unknown key " + key +
                            (near.empty() ? "" : "; did you mean " + near + "?"));
      }
    }
  }

  Status status() {
    if (problems_.empty())
      return Status::ok();
    std::sort(problems_.begin(), problems_.end());
    std::string text = filename_ + ":";
    if (problems_.size() == 1)
      // "file:line:column: …"
      return Status(Code::Input, text + (std::isdigit(problems_[0].second[0]) ? "" : " ") +
                                     problems_[0].second);
    text += " " + std::to_string(problems_.size()) + " problems: ";
    for (size_t i = 0; i < problems_.size(); ++i)
      text += (i ? "; " : "") + problems_[i].second;
    return Status(Code::Input, text);
  }

private:
  void wrong(const std::string &key, const toml::node *node, const char *expected) {
    problem(node, key + " must be " + expected + ", found " + kindOf(*node));
  }

  toml::table &root_;
  std::string filename_;
  std::vector<std::string> known_;
  /// Line and column (0: nowhere), message.
  std::vector<std::pair<std::pair<uint32_t, uint32_t>, std::string>> problems_;
};

/// Puts `from` over `into`, table by table.
void merge(toml::table &into, toml::table &&from) {
  for (auto &&[key, value] : from) {
    toml::table *mine = into[key].as_table(), *theirs = value.as_table();
    if (mine && theirs)
      merge(*mine, std::move(*theirs));
    else
      into.insert_or_assign(key, std::move(value));
  }
}

/// A table of plain values as JSON. Floats that are whole stay floats.
json toJson(const toml::table &table) {
  json object = json::object();
  for (auto &&[key, node] : table) {
    std::string name(key.str());
    if (auto whole = node.value_exact<int64_t>())
      object[name] = *whole;
    else if (auto real = node.value_exact<double>())
      object[name] = *real;
    else if (auto boolean = node.value_exact<bool>())
      object[name] = *boolean;
    else if (auto string = node.value_exact<std::string>())
      object[name] = *string;
    else
      object[name] = json::array();
  }
  return object;
}

void readModel(Reader &reader, toml::table &root, TrainConfig &config) {
  std::string preset;
  reader.text("model.preset", preset);
  reader.text("model.from", config.from);
  reader.texts("model.frozen", config.frozen);
  const toml::table *section = root["model"].as_table();
  toml::table fields = section ? *section : toml::table{};
  for (const char *own : {"preset", "from", "frozen"})
    fields.erase(own);
  if (!config.from.empty()) {
    if (!preset.empty())
      reader.problemAt("model.preset", "model.preset and model.from contradict each other: the "
                                       "checkpoint has its own configuration");
    for (auto &&[key, node] : fields)
      reader.problem(&node, "model." + std::string(key.str()) +
                                " and model.from contradict each other: the checkpoint has its "
                                "own configuration");
    if (root.contains("tokenizer"))
      reader.problem(root.get("tokenizer"), "[tokenizer] and model.from contradict each other: "
                                            "the checkpoint has its own tokenizer");
    return;
  }
  json model = json::object(), tokenizer = json::object();
  if (const toml::table *table = root["tokenizer"].as_table())
    tokenizer = toJson(*table);
  if (!preset.empty()) {
    Result<formats::ModelConfig> found = formats::findPreset(preset);
    if (!found.isOk())
      return reader.problemAt("model.preset", found.status().message());
    model = json::parse(found->toJson())["model"];
    // Presets name the vocabulary of a tokenizer; without one tokens are bytes.
    if (!tokenizer.contains("path"))
      model["vocab_size"] = 256;
  } else if (!section) {
    return reader.problem(nullptr, "expected a [model] section with a preset, with fields of "
                                   "config.json, or with 'from'");
  } else if (!tokenizer.contains("path") && !fields.contains("vocab_size")) {
    model["vocab_size"] = 256;
  }
  model.update(toJson(fields));
  Result<formats::ModelConfig> parsed = formats::ModelConfig::parse(
      json{{"model", model}, {"tokenizer", tokenizer}}.dump(), "[model]");
  if (!parsed.isOk())
    return reader.problem(section, parsed.status().message());
  config.model = *parsed;
  if (config.model.init_mode == "none")
    reader.problemAt("model.init_mode",
                     "init_mode \"none\" gives zeros, from which nothing can be learnt");
}

void readSections(Reader &reader, TrainConfig &c) {
  reader.texts("data.files", c.files);
  reader.texts("data.validation_files", c.validationFiles);
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"text", "text"}, {"jsonl", "jsonl"}, {"tokens", "tokens"}};
  reader.choice("data.format", c.format, kinds);
  reader.text("data.field", c.field);
  reader.number("data.validation_fraction", c.validationFraction, 0, 0.9);
  if (reader.has("data.validation_files") && reader.has("data.validation_fraction"))
    reader.problemAt("data.validation_fraction", "data.validation_fraction and "
                                                 "data.validation_files contradict each other");
  reader.choice("data.order", c.order,
                std::vector<std::pair<std::string, DataOrder>>{
                    {"random", DataOrder::Random},
                    {"shuffled", DataOrder::Shuffled},
                    {"sequential", DataOrder::Sequential}});

  reader.integer("train.steps", c.steps, 1);
  reader.integer("train.batch", c.batch, 1, 1 << 20);
  reader.integer("train.length", c.length, 1, int64_t(1) << 31);
  for (const char *key : {"train.steps", "train.batch", "train.length"})
    if (!reader.has(key))
      reader.problem(nullptr, std::string(key) + " is missing");
  reader.integer("train.accumulate", c.accumulate, 1, 1 << 20);
  int64_t seed = 1;
  reader.integer("train.seed", seed, 0, INT64_MAX);
  c.seed = static_cast<uint64_t>(seed);
  reader.choice("train.precision", c.precision,
                std::vector<std::pair<std::string, std::string>>{{"f32", "f32"}, {"bf16", "bf16"}});
  reader.text("train.target", c.target);
  reader.bytes("train.memory_budget", c.memoryBudget);
  reader.choice("train.not_finite", c.notFinite,
                std::vector<std::pair<std::string, NotFinitePolicy>>{
                    {"stop", NotFinitePolicy::Stop}, {"skip", NotFinitePolicy::Skip}});

  reader.number("optimizer.lr", c.learningRate, 0, 1e3, true);
  reader.number("optimizer.beta1", c.beta1, 0, 0.999999);
  reader.number("optimizer.beta2", c.beta2, 0, 0.99999999);
  reader.number("optimizer.epsilon", c.epsilon, 0, 1, true);
  reader.number("optimizer.weight_decay", c.weightDecay, 0, 1e3);
  reader.number("optimizer.clip", c.clip, 0, 1e9);

  reader.choice("schedule.kind", c.schedule.kind,
                std::vector<std::pair<std::string, ScheduleKind>>{
                    {"linear", ScheduleKind::Linear},
                    {"cosine", ScheduleKind::Cosine},
                    {"constant", ScheduleKind::Constant}});
  c.schedule.total = c.steps;
  c.schedule.warmup = std::min<int64_t>(2000, c.steps / 10);
  reader.integer("schedule.warmup", c.schedule.warmup, 0);
  reader.integer("schedule.total", c.schedule.total, 1);
  reader.number("schedule.init_ratio", c.schedule.initRatio, 0, 1);
  reader.number("schedule.end_ratio", c.schedule.endRatio, 0, 1);
  reader.number("schedule.cycles", c.schedule.cycles, 0, 1e6, true);
  bool decays = c.schedule.kind != ScheduleKind::Constant;
  if (decays && c.schedule.warmup >= c.schedule.total && c.schedule.total > 0)
    reader.problemAt("schedule.warmup", "schedule.warmup = " + std::to_string(c.schedule.warmup) +
                                            " leaves nothing of the schedule's " +
                                            std::to_string(c.schedule.total) + " steps");
  if (!decays)
    for (const char *key : {"schedule.end_ratio", "schedule.total"})
      if (reader.has(key))
        reader.problemAt(key, std::string(key) + " contradicts schedule.kind = \"constant\"");
  if (c.schedule.kind != ScheduleKind::Cosine && reader.has("schedule.cycles"))
    reader.problemAt("schedule.cycles", "schedule.cycles needs schedule.kind = \"cosine\"");

  reader.integer("evaluation.every", c.evaluateEvery, 0);
  reader.integer("evaluation.window", c.window, 0, int64_t(1) << 31);
  reader.integer("evaluation.batch", c.evaluateBatch, 1, 1 << 20);
  reader.integer("checkpoint.every", c.checkpointEvery, 0);
  reader.integer("checkpoint.keep", c.keep, 1);
}

} // namespace

Result<TrainConfig> TrainConfig::parse(std::string_view text, const std::string &filename,
                                       const std::vector<std::string> &overrides) {
  auto fault = [](const std::string &name, const toml::parse_error &error) {
    return Status(Code::Input, name + ":" + std::to_string(error.source().begin.line) + ":" +
                                   std::to_string(error.source().begin.column) + ": " +
                                   std::string(error.description()));
  };
  toml::parse_result parsed = toml::parse(text, filename);
  if (!parsed)
    return fault(filename, parsed.error());
  toml::table root = std::move(parsed).table();
  for (const std::string &setting : overrides) {
    std::string name = "--set " + setting;
    toml::parse_result more = toml::parse(setting, name);
    if (!more)
      return Status(Code::Usage, name + ": expected SECTION.KEY=VALUE in TOML, but " +
                                     std::string(more.error().description()));
    merge(root, std::move(more).table());
  }

  TrainConfig config;
  Reader reader(root, filename);
  readModel(reader, root, config);
  readSections(reader, config);
  reader.unknownKeys(root["model"].is_table() || !root.contains("model")
                         ? std::vector<std::string>{"model", "tokenizer"}
                         : std::vector<std::string>{});
  OTODUS_RETURN_IF_ERROR(reader.status());
  if (config.window == 0)
    config.window = config.length;
  return config;
}

Result<TrainConfig> TrainConfig::load(const std::string &path,
                                      const std::vector<std::string> &overrides) {
  Result<std::string> text = formats::readFile(path, uint64_t(1) << 24);
  if (!text.isOk())
    return text.status();
  return parse(*text, path, overrides);
}

//===----------------------------------------------------------------------===//
// Fingerprint
//===----------------------------------------------------------------------===//

std::string TrainConfig::fingerprint() const {
  std::ostringstream out;
  auto line = [&](const std::string &key, const auto &value) { out << key << " = " << value << "\n"; };
  json modelFields = json::parse(model.toJson());
  for (const char *part : {"model", "tokenizer"})
    for (const auto &[key, value] : modelFields[part].items())
      line(std::string(part) + "." + key, value.dump());
  std::string patterns;
  for (const std::string &pattern : frozen)
    patterns += (patterns.empty() ? "" : " ") + pattern;
  line("model.frozen", patterns);
  line("data.order", order == DataOrder::Random     ? "random"
                     : order == DataOrder::Shuffled ? "shuffled"
                                                    : "sequential");
  line("train.steps", steps);
  line("train.batch", batch);
  line("train.length", length);
  line("train.accumulate", accumulate);
  line("train.seed", seed);
  line("train.precision", precision);
  line("train.not_finite", notFinite == NotFinitePolicy::Stop ? "stop" : "skip");
  line("optimizer.lr", textOf(learningRate));
  line("optimizer.beta1", textOf(beta1));
  line("optimizer.beta2", textOf(beta2));
  line("optimizer.epsilon", textOf(epsilon));
  line("optimizer.weight_decay", textOf(weightDecay));
  line("optimizer.clip", textOf(clip));
  line("schedule.kind", schedule.kind == ScheduleKind::Linear   ? "linear"
                        : schedule.kind == ScheduleKind::Cosine ? "cosine"
                                                                : "constant");
  line("schedule.warmup", schedule.warmup);
  line("schedule.total", schedule.total);
  line("schedule.init_ratio", textOf(schedule.initRatio));
  line("schedule.end_ratio", textOf(schedule.endRatio));
  line("schedule.cycles", textOf(schedule.cycles));
  return out.str();
}

std::string TrainConfig::difference(const std::string &before, const std::string &now) {
  auto split = [](const std::string &text) {
    std::map<std::string, std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
      if (size_t at = line.find(" = "); at != std::string::npos)
        lines[line.substr(0, at)] = line.substr(at + 3);
    return lines;
  };
  std::map<std::string, std::string> old = split(before), fresh = split(now);
  std::string text;
  auto add = [&](const std::string &what) { text += (text.empty() ? "" : "; ") + what; };
  for (const auto &[key, value] : old) {
    auto found = fresh.find(key);
    if (found == fresh.end())
      add(key + " was " + value);
    else if (found->second != value)
      add(key + " was " + value + ", is now " + found->second);
  }
  for (const auto &[key, value] : fresh)
    if (!old.count(key))
      add(key + " is now " + value);
  return text;
}

Result<int64_t> parseBytes(std::string_view text) {
  static const std::map<std::string, double> units = {
      {"", 1},       {"B", 1},       {"kB", 1e3},         {"KB", 1e3},        {"MB", 1e6},
      {"GB", 1e9},   {"TB", 1e12},   {"KiB", 1024.0},     {"MiB", 1048576.0}, {"GiB", 1073741824.0},
      {"TiB", 1099511627776.0}};
  std::string number(text.substr(0, text.find_first_not_of("0123456789.")));
  std::string unit(text.substr(number.size()));
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size()
                                                                  : unit.find_first_not_of(' '));
  auto found = units.find(unit);
  char *end = nullptr;
  double value = std::strtod(number.c_str(), &end);
  double bytes = found == units.end() ? 0 : value * found->second;
  if (number.empty() || *end || found == units.end() || !(bytes >= 1) || bytes > 0x1p60)
    return Status(Code::Usage, "expects bytes such as 8GB, 500MB or 4GiB, but got '" +
                                   std::string(text) + "'");
  return static_cast<int64_t>(bytes);
}

bool matchesPattern(std::string_view name, std::string_view pattern) {
  // The last star and where it was tried: enough to go back to, since stars are greedy-free.
  size_t n = 0, p = 0, star = std::string_view::npos, mark = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*') {
      ++n, ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*')
    ++p;
  return p == pattern.size();
}

} // namespace otodus::training
