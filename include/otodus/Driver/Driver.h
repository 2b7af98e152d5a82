//===- Driver.h - The program `otodus` -------------------------------------===//
//
// One binary with subcommands (docs/Driver.md). Results go to stdout, everything
// else to stderr.
//
//===----------------------------------------------------------------------===//

#pragma once

namespace otodus {

/// Runs the command line and returns the exit code: 0 ok, 1 errors in the user's input,
/// 2 wrong usage, 3 file or format, 4 target not available, 5 device, memory or disk,
/// 6 a check failed, 70 internal, 130 interrupted. Never throws and never exits, except
/// that an interrupt outside a cooperative loop ends the process with 130.
int driverMain(int argc, char **argv);

} // namespace otodus
