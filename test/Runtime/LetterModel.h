//===- LetterModel.h - An artefact file made without the compiler ----------===//
//
// A "language model" whose kernel is a function of this program: it stands in a
// section of its own, refers to nothing outside itself, and its bytes are copied into
// an artefact. So files, the C API and the examples are tested with real machine code
// where there is no compiler.
//
// The model: s <- (31 s + token + w) mod 65536 with s = 7 at the start and w the one
// embedded weight; the logits of the next byte are 1 at 'a' + s mod 26, else 0.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Kernel.h"
#include "otodus/Formats/ArtefactFile.h"

#include <cstring>

extern "C" {
// Buffers: tokens i32, state i32, weight f32, logits f32 (stride 256). `logits` gets a row
// for every step (`all`) or for the last one. Volatile keeps the compiler from calling
// memset, which the blob does not have.
__attribute__((section("otodus_code"), noinline, used,
               no_sanitize("address", "undefined"))) inline void
letterKernel(const OtodusKernelArguments *a, int64_t lo, int64_t hi, int64_t all) {
  const int *tokens = (const int *)a->buffers[0];
  volatile int *state = (volatile int *)a->buffers[1];
  int weight = (int)*(const float *)a->buffers[2];
  volatile int *logits = (volatile int *)a->buffers[3];
  for (int64_t b = lo; b < hi; ++b)
    for (int64_t t = 0; t < a->length; ++t) {
      int s = (state[b * 16] * 31 + tokens[b * a->length + t] + weight) & 0xffff;
      state[b * 16] = s;
      int64_t row = all ? b * a->length + t : b;
      for (int64_t v = 0; v < 256; ++v)
        logits[row * 256 + v] = 0;
      logits[row * 256 + 'a' + s % 26] = 0x3f800000; // 1.0f
    }
}
extern const unsigned char __start_otodus_code[], __stop_otodus_code[];
}

namespace letters {

using namespace otodus::formats;

inline constexpr int kWeight = 3;

/// The byte that follows `text`.
inline char next(const std::string &text) {
  int s = 7;
  for (unsigned char c : text)
    s = (s * 31 + c + kWeight) & 0xffff;
  return static_cast<char>('a' + s % 26);
}

#if defined(__x86_64__)
inline Artefact artefact() {
  Artefact result;
  result.producer = "test";
  result.modelHash = std::string(64, 'c');
  result.dtype = "f32";
  Program &program = result.programs.emplace_back();
  Prepared weight;
  weight.name = "w";
  weight.kind = PrepareKind::Vector;
  weight.sources = {"w"};
  weight.columns = {1, 1};
  program.prepared = {weight};
  State state;
  state.name = "s";
  state.dtype = DType::I32;
  state.initial = 7;
  program.states = {state};

  otodus::formats::Code code;
  code.target = "cpu:x86-64";
  code.features = {"sse2"};
  code.blob.assign(__start_otodus_code, __stop_otodus_code);
  auto kernel = static_cast<uint64_t>(reinterpret_cast<const unsigned char *>(&letterKernel) -
                                      __start_otodus_code);
  // Two entries that set the fourth argument (rcx) and go on to the kernel.
  for (bool all : {false, true}) {
    code.entries.push_back({all ? "letters_all" : "letters_last", code.blob.size()});
    for (uint8_t byte : {0xb9, int(all), 0, 0, 0, 0xe9}) // mov ecx, all; jmp ...
      code.blob.push_back(byte);
    auto offset = static_cast<int32_t>(kernel - (code.blob.size() + 4));
    uint8_t bytes[4];
    std::memcpy(bytes, &offset, 4);
    code.blob.insert(code.blob.end(), bytes, bytes + 4);
  }
  code.textBytes = code.blob.size();
  program.code = {code};

  for (bool all : {false, true}) {
    Function f;
    f.name = all ? "forward" : "prefill";
    f.states = {0};
    Argument tokens;
    tokens.name = "tokens";
    tokens.kind = ArgumentKind::Steps;
    tokens.dtype = DType::I32;
    tokens.bound = 256;
    Argument logits;
    logits.name = "logits";
    logits.kind = all ? ArgumentKind::Rows : ArgumentKind::LastRows;
    logits.width = {1, 256};
    logits.trailing = {256};
    logits.rowStride = 256;
    f.inputs = {tokens};
    f.outputs = {logits};
    auto buffer = [](BufferKind kind) {
      Buffer b;
      b.kind = kind;
      return b;
    };
    f.buffers = {buffer(BufferKind::Input), buffer(BufferKind::State), buffer(BufferKind::Prepared),
                 buffer(BufferKind::Output)};
    Launch launch;
    launch.name = "letters";
    launch.variants = {{0, all ? "letters_all" : "letters_last", {{Symbol::Batch, 1, 1}}}};
    launch.buffers = {0, 1, 2, 3};
    f.launches = {launch};
    program.functions.push_back(f);
  }
  return result;
}

/// Writes the model with its weight embedded, or with a name of a checkpoint only.
inline otodus::Status write(const std::string &path, bool embed = true) {
  if (!embed)
    return writeArtefact(path, artefact());
  return writeArtefact(path, artefact(), [](size_t, size_t, std::vector<uint8_t> &bytes) {
    bytes.assign(32 * 4, 0);
    float w = kWeight;
    std::memcpy(bytes.data(), &w, 4);
    return otodus::Status::ok();
  });
}
#endif

} // namespace letters
