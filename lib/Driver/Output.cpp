//===- Output.cpp - What the program writes where --------------------------===//

#include "Output.h"

#include "otodus/Formats/OutputFile.h"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <unistd.h>

namespace otodus::driver {

namespace {
const char *const kClosed = "stdout was closed by its reader";
int verbosity = 1;
volatile std::sig_atomic_t interruptFlag = 0;
volatile std::sig_atomic_t cooperative = 0;

void onInterrupt(int) {
  if (!cooperative || interruptFlag)
    _exit(static_cast<int>(Code::Interrupted));
  interruptFlag = 1;
}
} // namespace

Status writeStdout(std::string_view text) {
  while (!text.empty()) {
    ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR)
        continue;
      if (errno == EPIPE)
        return Status(Code::Device, kClosed);
      return Status(Code::Device, std::string("cannot write to stdout: ") + std::strerror(errno));
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  return Status::ok();
}

bool isStdoutClosed(const Status &status) {
  return status.code() == Code::Device && status.message() == kClosed;
}

Status writeOutput(const std::string &path, std::string_view text, bool binary) {
  if (!path.empty() && path != "-")
    return formats::writeFile(path, text.data(), text.size());
  if (binary && isatty(STDOUT_FILENO))
    return Status(Code::Usage, "refusing to write binary data to a terminal; use -o FILE or a pipe");
  return writeStdout(text);
}

Result<std::string> readInput(const std::string &path) {
  if (path != "-")
    return formats::readFile(path);
  std::string text;
  char buffer[65536];
  for (;;) {
    ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count == 0)
      return text;
    if (count < 0) {
      if (errno == EINTR)
        continue;
      return Status(Code::File, std::string("cannot read stdin: ") + std::strerror(errno));
    }
    text.append(buffer, static_cast<size_t>(count));
  }
}

void setVerbosity(int level) { verbosity = level; }

void note(const std::string &message) {
  if (verbosity >= 1)
    std::fprintf(stderr, "otodus: %s\n", message.c_str());
}

void detail(const std::string &message) {
  if (verbosity >= 2)
    std::fprintf(stderr, "otodus: %s\n", message.c_str());
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) && verbosity >= 1) {}

Progress::~Progress() {
  if (shown_)
    std::fputs("\r\033[K", stderr);
}

void Progress::clear() {
  if (std::exchange(shown_, false))
    std::fputs("\r\033[K", stderr);
}

void Progress::show(const std::string &text) {
  if (!terminal_)
    return;
  auto now = std::chrono::steady_clock::now();
  if (now < next_)
    return;
  next_ = now + std::chrono::milliseconds(100);
  shown_ = true;
  std::fprintf(stderr, "\r%s\033[K", text.c_str());
  std::fflush(stderr);
}

void installSignalHandlers() {
  std::signal(SIGPIPE, SIG_IGN);
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

Interruptible::Interruptible() { cooperative = 1; }
Interruptible::~Interruptible() { cooperative = 0; }
bool interrupted() { return interruptFlag != 0; }

Status checkInterrupt() {
  return interruptFlag ? Status(Code::Interrupted, "interrupted") : Status::ok();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

int64_t residentBytes() {
  std::FILE *file = std::fopen("/proc/self/status", "r");
  if (!file)
    return 0;
  int64_t total = 0;
  char line[256];
  while (std::fgets(line, sizeof line, file)) {
    long kilobytes = 0;
    if (std::sscanf(line, "RssAnon: %ld", &kilobytes) == 1 ||
        std::sscanf(line, "RssShmem: %ld", &kilobytes) == 1)
      total += int64_t(kilobytes) * 1024;
  }
  std::fclose(file);
  return total;
}

int64_t peakBytes() {
  std::FILE *file = std::fopen("/proc/self/status", "r");
  if (!file)
    return 0;
  long kilobytes = 0;
  char line[256];
  while (std::fgets(line, sizeof line, file) && std::sscanf(line, "VmHWM: %ld", &kilobytes) != 1) {
  }
  std::fclose(file);
  return int64_t(kilobytes) * 1024;
}

struct MemorySampler::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  bool stop = false;
  int64_t peak = 0;
  std::thread thread;

  void sample() { // with the mutex held
    int64_t now = residentBytes();
    if (now > peak)
      peak = now;
  }
};

MemorySampler::MemorySampler() : shared_(new Shared) {
  shared_->thread = std::thread([shared = shared_] {
    std::unique_lock lock(shared->mutex);
    while (!shared->stop) {
      shared->sample();
      shared->wake.wait_for(lock, std::chrono::milliseconds(20));
    }
  });
}

MemorySampler::~MemorySampler() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->wake.notify_all();
  shared_->thread.join();
  delete shared_;
}

int64_t MemorySampler::peak() {
  std::lock_guard lock(shared_->mutex);
  shared_->sample();
  return shared_->peak;
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

std::string format(const char *pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  int length = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(static_cast<size_t>(length > 0 ? length : 0), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

std::string formatBytes(double bytes) {
  const char *units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return format(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::string jsonString(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += '\\', out += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += format("\\u%04x", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + '"';
}

} // namespace otodus::driver
