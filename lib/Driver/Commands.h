//===- Commands.h - The subcommands of `otodus` ----------------------------===//
//
// Each function adds one subcommand with its flags and examples. When the user
// chooses it, parsing sets `action` to what the command does; nothing is done before
// the whole command line is known to be right.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace otodus::driver {

using Action = std::function<Status()>;

void addImport(CLI::App &app, Action &action);
void addCompile(CLI::App &app, Action &action);
void addRun(CLI::App &app, Action &action);
void addGenerate(CLI::App &app, Action &action);
void addEval(CLI::App &app, Action &action);
void addCheck(CLI::App &app, Action &action);
void addExplain(CLI::App &app, Action &action);
/// `explain memory`, a subcommand of `explain`.
void addExplainMemory(CLI::App &explain, Action &action);
void addInspect(CLI::App &app, Action &action);
void addDoctor(CLI::App &app, Action &action);
void addBench(CLI::App &app, Action &action);
void addTrain(CLI::App &app, Action &action);
void addPlot(CLI::App &app, Action &action);

/// "otodus 0.1.0"
std::string versionString();

} // namespace otodus::driver
