//===- BenchChild.cpp - Measurements in processes of their own ---------------===//

#include "BenchChild.h"

#include "Output.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

#include <csignal>
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace otodus::driver {

//===----------------------------------------------------------------------===//
// Processes
//===----------------------------------------------------------------------===//

Result<ChildProcess>
ChildProcess::start(const std::vector<std::string> &arguments,
                    const std::vector<std::pair<std::string, std::string>> &environment) {
  int toChild[2], fromChild[2];
  if (pipe2(toChild, O_CLOEXEC) != 0)
    return Status(Code::Device, std::string("cannot make a pipe: ") + std::strerror(errno));
  if (pipe2(fromChild, O_CLOEXEC) != 0) {
    close(toChild[0]), close(toChild[1]);
    return Status(Code::Device, std::string("cannot make a pipe: ") + std::strerror(errno));
  }

  std::vector<std::string> settings;
  for (char **entry = environ; *entry; ++entry) {
    std::string_view text = *entry;
    bool replaced = std::any_of(environment.begin(), environment.end(), [&](const auto &setting) {
      return text.starts_with(setting.first + "=");
    });
    if (!replaced)
      settings.emplace_back(text);
  }
  for (const auto &[name, value] : environment)
    if (!value.empty())
      settings.push_back(name + "=" + value);
  auto pointers = [](std::vector<std::string> &words) {
    std::vector<char *> result;
    for (std::string &word : words)
      result.push_back(word.data());
    result.push_back(nullptr);
    return result;
  };
  std::vector<std::string> words = {"otodus"};
  words.insert(words.end(), arguments.begin(), arguments.end());

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, toChild[0], 0);
  posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1);
  ChildProcess child;
  int error = posix_spawn(&child.pid_, "/proc/self/exe", &actions, nullptr, pointers(words).data(),
                          pointers(settings).data());
  posix_spawn_file_actions_destroy(&actions);
  close(toChild[0]), close(fromChild[1]);
  child.in_ = fdopen(toChild[1], "w");
  child.out_ = fdopen(fromChild[0], "r");
  if (error != 0) {
    child.pid_ = -1;
    return Status(Code::Device, std::string("cannot start a process: ") + std::strerror(error));
  }
  return child;
}

void ChildProcess::swap(ChildProcess &other) {
  std::swap(pid_, other.pid_);
  std::swap(in_, other.in_);
  std::swap(out_, other.out_);
}

ChildProcess::ChildProcess(ChildProcess &&other) noexcept { swap(other); }

ChildProcess &ChildProcess::operator=(ChildProcess &&other) noexcept {
  swap(other);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (in_)
    std::fclose(in_);
  if (out_)
    std::fclose(out_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

Status ChildProcess::write(const std::string &line) {
  if (std::fprintf(in_, "%s\n", line.c_str()) < 0 || std::fflush(in_) != 0)
    return Status(Code::Device, "the measuring process has ended");
  return Status::ok();
}

Result<std::string> ChildProcess::readLine() {
  std::string line;
  for (int c = std::fgetc(out_); c != '\n'; c = std::fgetc(out_)) {
    if (c == EOF) {
      OTODUS_RETURN_IF_ERROR(checkInterrupt());
      // It has said what is wrong on stderr, so its exit code is all there is to pass on.
      int status = 0;
      if (pid_ > 0 && waitpid(std::exchange(pid_, -1), &status, 0) > 0 && WIFEXITED(status) &&
          WEXITSTATUS(status) != 0)
        return Status(static_cast<Code>(WEXITSTATUS(status)), "");
      return Status(Code::Device, "the measuring process has ended before it was done");
    }
    line += static_cast<char>(c);
  }
  return line;
}

//===----------------------------------------------------------------------===//
// OpenBLAS
//===----------------------------------------------------------------------===//

Result<SgemmProcess> SgemmProcess::start(const std::vector<SgemmShape> &shapes, int threads) {
  std::vector<std::pair<std::string, std::string>> environment = {
      {"OPENBLAS_NUM_THREADS", std::to_string(threads)}, {"OMP_NUM_THREADS", ""}};
#if defined(__x86_64__)
  // The library does not know newer processors and takes them for Haswell.
  if (!std::getenv("OPENBLAS_CORETYPE") && __builtin_cpu_supports("avx512f"))
    environment.emplace_back("OPENBLAS_CORETYPE", "SkylakeX");
#endif
  Result<ChildProcess> child = ChildProcess::start(
      {"bench", "-", "--child=sgemm", "--threads=" + std::to_string(threads)}, environment);
  if (!child.isOk())
    return child.status();
  SgemmProcess process(std::move(*child));
  Result<std::string> ready = process.child_.readLine();
  if (!ready.isOk())
    return ready.status();
  if (!ready->starts_with("ready "))
    return Status(Code::Target, *ready);
  process.core_ = ready->substr(6);
  std::string line = std::to_string(shapes.size());
  for (const SgemmShape &shape : shapes)
    line += format(" %lld %lld %lld %lld", (long long)shape.m, (long long)shape.n,
                   (long long)shape.k, (long long)shape.calls);
  OTODUS_RETURN_IF_ERROR(process.child_.write(line));
  // The first round warms up.
  if (Result<std::vector<double>> warm = process.round(); !warm.isOk())
    return warm.status();
  return process;
}

Result<std::vector<double>> SgemmProcess::round() {
  OTODUS_RETURN_IF_ERROR(child_.write("go"));
  Result<std::string> line = child_.readLine();
  if (!line.isOk())
    return line.status();
  std::istringstream stream(*line);
  std::vector<double> seconds;
  for (double value = 0; stream >> value;)
    seconds.push_back(value);
  return seconds;
}

Status serveSgemm(int threads) {
  // CblasRowMajor, CblasNoTrans, CblasTrans of the C interface.
  constexpr int rowMajor = 101, noTranspose = 111, transpose = 112;
  using Sgemm = void (*)(int, int, int, int, int, int, float, const float *, int, const float *,
                         int, float, float *, int);
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  auto sgemm = library ? reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm")) : nullptr;
  if (!sgemm)
    return writeStdout("libopenblas.so.0 is not installed\n");
  if (auto set = reinterpret_cast<void (*)(int)>(dlsym(library, "openblas_set_num_threads")))
    set(threads);
  auto core = reinterpret_cast<char *(*)()>(dlsym(library, "openblas_get_corename"));
  OTODUS_RETURN_IF_ERROR(writeStdout(std::string("ready ") + (core ? core() : "unknown") + "\n"));

  std::FILE *input = fdopen(dup(0), "r");
  if (!input)
    return Status(Code::Device, "cannot read the products to measure");
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> closer(input, std::fclose);
  int count = 0;
  if (std::fscanf(input, "%d", &count) != 1 || count < 0 || count > 4096)
    return Status(Code::Usage, "expected a list of products");
  std::vector<SgemmShape> shapes(static_cast<size_t>(count));
  size_t most = 0, mostX = 0, mostY = 0;
  for (SgemmShape &shape : shapes) {
    long long m, n, k, calls;
    if (std::fscanf(input, "%lld %lld %lld %lld", &m, &n, &k, &calls) != 4 || m < 1 || n < 1 ||
        k < 1)
      return Status(Code::Usage, "expected m, n, k, calls of a product");
    shape = {m, n, k, calls};
    most = std::max(most, size_t(n * k));
    mostX = std::max(mostX, size_t(m * k));
    mostY = std::max(mostY, size_t(m * n));
  }
  // As in a model every call has a matrix of its own, which comes from memory; what it
  // multiplies was just made.
  size_t arena = std::max(most, size_t(64) << 20);
  std::vector<float> weights(arena), x(mostX), y(mostY);
  uint32_t random = 1;
  for (std::vector<float> *values : {&weights, &x})
    for (float &value : *values) {
      random = random * 1664525u + 1013904223u;
      value = float(int32_t(random)) * 0x1p-31f;
    }
  size_t at = 0;
  char word[16];
  while (std::fscanf(input, "%15s", word) == 1) {
    std::string reply;
    for (const SgemmShape &shape : shapes) {
      auto start = std::chrono::steady_clock::now();
      for (int64_t call = 0; call < shape.calls; ++call) {
        size_t size = size_t(shape.n * shape.k);
        at = at + size > arena ? 0 : at;
        sgemm(rowMajor, noTranspose, transpose, int(shape.m), int(shape.n), int(shape.k), 1.0f,
              x.data(), int(shape.k), weights.data() + at, int(shape.k), 0.0f, y.data(),
              int(shape.n));
        at += size;
      }
      double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      reply += format("%.9f ", seconds);
    }
    // Its threads look for work for some 30 ms before they sleep.
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    OTODUS_RETURN_IF_ERROR(writeStdout(reply + "\n"));
  }
  return Status::ok();
}

} // namespace otodus::driver
