//===- Output.h - What the program writes where ----------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace otodus::driver {

/// Appends to stdout at once. Code::Device when the disk behind it is full or it fails
/// otherwise. When the reader has gone (EPIPE) this fails too, with a status that
/// `isStdoutClosed` knows: a program that ends with it does so quietly with 0, since nobody
/// is left who wants to know.
Status writeStdout(std::string_view text);
bool isStdoutClosed(const Status &status);

/// The whole of `text` to the file `path` (temporary, then rename) or to stdout for "" and
/// "-". Binary output to a terminal is refused (Code::Usage).
Status writeOutput(const std::string &path, std::string_view text, bool binary = false);

/// All of `path`, or of stdin for "-". Code::File.
Result<std::string> readInput(const std::string &path);

/// Notes for the user on stderr, "otodus: ..." with a newline. Silent under --quiet.
void note(const std::string &message);
/// The same under --verbose only.
void detail(const std::string &message);
/// 0 quiet, 1 normal, 2 verbose.
void setVerbosity(int level);

/// One line on stderr that is overwritten as work goes on; does nothing unless stderr is a
/// terminal. Cleared by the destructor.
class Progress {
public:
  Progress();
  ~Progress();
  /// At most ten times a second is anything shown.
  void show(const std::string &text);
  /// Takes the line away, for another one to be printed.
  void clear();

private:
  bool terminal_ = false, shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

/// ^C: while such an object lives, an interrupt only sets a flag that loops ask for;
/// otherwise, and on the second ^C, it ends the process with 130.
class Interruptible {
public:
  Interruptible();
  ~Interruptible();
};
bool interrupted();
/// Code::Interrupted if ^C was pressed.
Status checkInterrupt();
/// Installs the handlers: SIGINT as above, SIGPIPE ignored.
void installSignalHandlers();

/// Samples RssAnon + RssShmem of this process from a thread while it lives: what a model
/// takes without the pages of files that the system can drop at will.
class MemorySampler {
public:
  MemorySampler();
  ~MemorySampler();
  /// Bytes, the most seen so far.
  int64_t peak();

private:
  struct Shared;
  Shared *shared_;
};
/// RssAnon + RssShmem now, in bytes; 0 where /proc is missing.
int64_t residentBytes();
/// The most that was ever resident (VmHWM), pages of files included; 0 where /proc is missing.
int64_t peakBytes();

/// "12.3 MB"
std::string formatBytes(double bytes);
/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char *pattern, ...);
/// `text` as a JSON string with its quotes.
std::string jsonString(std::string_view text);

} // namespace otodus::driver
