//===- Driver.cpp - The program `otodus` -----------------------------------===//

#include "otodus/Driver/Driver.h"

#include "Commands.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Formats/ModelConfig.h"

#include <CLI/CLI.hpp>

#include <cctype>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>

namespace otodus {

namespace driver {
std::string versionString() { return "otodus " OTODUS_VERSION; }
} // namespace driver

namespace {

void complain(const std::string &message) { std::fprintf(stderr, "otodus: %s\n", message.c_str()); }

/// A wrong command line: one line, and where to read on.
int usageError(const CLI::App &app, const CLI::ParseError &error, int argc, char **argv) {
  std::string message = error.what(), command;
  std::vector<std::string> commands;
  for (const CLI::App *sub : app.get_subcommands({})) {
    commands.push_back(sub->get_name());
    if (sub->parsed() || (argc > 1 && sub->get_name() == argv[1]))
      command = " " + sub->get_name();
  }
  // Messages start in lower case, names such as FILE stay as they are.
  if (message.size() > 1 && std::islower(static_cast<unsigned char>(message[1])))
    message[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(message[0])));
  while (!message.empty() && (message.back() == '\n' || message.back() == ' '))
    message.pop_back();
  if (argc < 2) {
    message = "expected a command";
  } else if (command.empty() && argv[1][0] != '-') {
    message = "unknown command '" + std::string(argv[1]) + "'";
    if (std::string near = formats::nearestWord(argv[1], commands); !near.empty())
      message += "; did you mean " + near + "?";
  }
  complain(message + " (see otodus" + command + " --help)");
  return static_cast<int>(Code::Usage);
}

int finish(const Status &status) {
  if (status.isOk())
    return 0;
  // The reader of stdout has gone: nobody is left who wants to know. What failed before or
  // after keeps its code.
  if (driver::isStdoutClosed(status))
    return 0;
  if (!status.message().empty())
    complain(status.code() == Code::Internal ? "internal error: " + status.message()
                                             : status.message());
  return static_cast<int>(status.code());
}

} // namespace

int driverMain(int argc, char **argv) try {
  driver::installSignalHandlers();

  CLI::App app("Compiles and runs Megalodon models.", "otodus");
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", driver::versionString() + " (LLVM " + driver::llvmVersion() + ")");
  app.require_subcommand(1);
  app.footer("otodus COMMAND --help says more and has examples. Exit codes: 0 ok, 1 input, 2 usage,\n"
             "3 file or format, 4 target, 5 device or memory, 6 check failed, 70 internal,\n"
             "130 interrupted.");
  bool quiet = false, verbose = false;

  driver::Action action;
  driver::addImport(app, action);
  driver::addCompile(app, action);
  driver::addRun(app, action);
  driver::addGenerate(app, action);
  driver::addEval(app, action);
  driver::addTrain(app, action);
  driver::addPlot(app, action);
  driver::addCheck(app, action);
  driver::addExplain(app, action);
  driver::addInspect(app, action);
  driver::addDoctor(app, action);
  driver::addBench(app, action);
  for (CLI::App *sub : app.get_subcommands({})) {
    sub->add_flag("-q,--quiet", quiet, "print errors only");
    sub->add_flag("-v,--verbose", verbose, "say what is done");
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    const CLI::App *chosen = &app;
    for (const CLI::App *sub : app.get_subcommands())
      chosen = sub;
    return finish(driver::writeStdout(chosen->help()));
  } catch (const CLI::CallForVersion &version) {
    return finish(driver::writeStdout(std::string(version.what()) + "\n"));
  } catch (const CLI::ParseError &error) {
    return usageError(app, error, argc, argv);
  }
  driver::setVerbosity(quiet ? 0 : verbose ? 2 : 1);
  if (!action)
    return finish(Status(Code::Internal, "no command"));
  return finish(action());
} catch (const std::bad_alloc &) {
  complain("out of memory");
  return static_cast<int>(Code::Device);
} catch (const std::exception &error) {
  complain(std::string("internal error: ") + error.what());
  return static_cast<int>(Code::Internal);
}

} // namespace otodus
