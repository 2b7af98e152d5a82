//===- SimRun.cpp - Runs one kernel of a file in the simulator -------------===//
//
//   otodus-sim-run FILE --kernel=k --threads=64 [--grid=2] [--shared=BYTES] [--cluster=2]
//       [--checks=none|fast|full] [--order=fifo|lifo|random:SEED] [--async=late|early|mixed]
//       [--workers=N] [--timeout=SECONDS] [--cooperative] [--counters] [--banks] [--repeat=N]
//       [--arg=…]… [--print=NAME]… [--product=D:A,B:MxNxK[:TOLERANCE]]
//
// Arguments of the kernel in order:
//   --arg=NAME:TYPE[COUNT]:INIT   a buffer; TYPE is f32, bf16, f16, i32 or i64; INIT is undef,
//                                 iota, random, identity:COLUMNS, or a number
//   --arg=i32:VALUE  --arg=i64:VALUE  --arg=f32:VALUE
//   --arg=map:NAME:SIZExSIZE…:BOXxBOX…:SWIZZLE   a tensor map over a buffer given before, innermost
//                                 dimension first, dense
//   --hidden=NAME:TYPE[COUNT]:INIT  a buffer that is no argument
//
// Prints the status and the reports, then what was asked for. --product compares D [M,N] in f32
// with A [M,K] times the transpose of B [N,K] in double precision.
//
//===----------------------------------------------------------------------===//

#include "otodus/ABI/SimLibrary.h"
#include "otodus/Codegen/Sim/Passes.h"
#include "otodus/Target/ObjectCode.h"

#include "gk/IR/GkOps.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <ctime>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <sys/mman.h>

using namespace mlir;

namespace {

struct Buffer {
  std::string name, type;
  int64_t count = 0;
  uint8_t *data = nullptr;
  int64_t elementBytes() const {
    return type == "i64" ? 8 : type == "bf16" || type == "f16" ? 2 : 4;
  }
  double get(int64_t i) const {
    const uint8_t *at = data + i * elementBytes();
    auto as = [&]<typename T>(T value) {
      memcpy(&value, at, sizeof value);
      return value;
    };
    if (type == "f32")
      return double(as(float()));
    if (type == "i32")
      return as(int32_t());
    if (type == "i64")
      return double(as(int64_t()));
    uint16_t bits = as(uint16_t());
    if (type == "f16")
      return double(
          llvm::APFloat(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits)).convertToFloat());
    uint32_t wide = uint32_t(bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return double(value);
  }
  void set(int64_t i, double value) {
    uint8_t *at = data + i * elementBytes();
    auto put = [&](auto v) { memcpy(at, &v, sizeof v); };
    if (type == "f32")
      return put(float(value));
    if (type == "i32")
      return put(int32_t(value));
    if (type == "i64")
      return put(int64_t(value));
    llvm::APFloat number(value);
    bool lost;
    number.convert(type == "f16" ? llvm::APFloat::IEEEhalf() : llvm::APFloat::BFloat(),
                   llvm::APFloat::rmNearestTiesToEven, &lost);
    put(uint16_t(number.bitcastToAPInt().getZExtValue()));
  }
};

[[noreturn]] void die(const llvm::Twine &text) {
  fprintf(stderr, "otodus-sim-run: %s\n", text.str().c_str());
  exit(2);
}

int64_t number(StringRef text) {
  int64_t value;
  if (text.getAsInteger(0, value))
    die("'" + text + "' is no number");
  return value;
}

void triple(StringRef text, uint32_t *to) {
  SmallVector<StringRef> parts;
  text.split(parts, 'x');
  for (int i = 0; i < 3; ++i)
    to[i] = i < int(parts.size()) ? uint32_t(number(parts[i])) : 1;
}

Buffer makeBuffer(StringRef text) {
  Buffer buffer;
  auto [name, rest] = text.split(':');
  auto [shape, init] = rest.split(':');
  auto [type, count] = shape.split('[');
  buffer.name = name.str();
  buffer.type = type.str();
  buffer.count = number(count.rtrim(']'));
  size_t bytes = size_t(buffer.count * buffer.elementBytes());
  // Space around it: a small overrun must not touch anything real.
  auto *memory = static_cast<uint8_t *>(aligned_alloc(1024, (bytes + 1023) / 1024 * 1024 + 4096));
  buffer.data = memory + 2048;
  memset(memory, 0xff, (bytes + 1023) / 1024 * 1024 + 4096);
  uint64_t state = 12345 + buffer.name.size() * 977 + uint8_t(buffer.name[0]);
  for (int64_t i = 0; i < buffer.count && init != "undef"; ++i) {
    auto [kind, parameter] = init.split(':');
    if (kind == "iota") {
      buffer.set(i, double(i));
    } else if (kind == "random") {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      buffer.set(i, double(int64_t(state >> 33) - (1ll << 30)) / double(1ll << 30));
    } else if (kind == "identity") {
      int64_t columns = number(parameter);
      buffer.set(i, i / columns == i % columns);
    } else {
      double value;
      if (init.getAsDouble(value))
        die("'" + init + "' is no way to fill a buffer");
      buffer.set(i, value);
    }
  }
  return buffer;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2)
    die("no file");
  OtodusSimOptions options = {};
  options.size = sizeof options;
  options.checks = OTODUS_SIM_CHECK_FULL;
  options.workers = 1;
  OtodusSimLaunch launch = {};
  launch.size = sizeof launch;
  triple("1", launch.grid);
  triple("32", launch.threads);
  std::string kernel;
  std::vector<Buffer> buffers;
  buffers.reserve(64);
  std::vector<void *> params;
  std::vector<std::string> prints, products;
  bool counters = false;
  int64_t repeat = 1;
  auto find = [&](StringRef name) -> Buffer & {
    for (Buffer &buffer : buffers)
      if (buffer.name == name)
        return buffer;
    die("no buffer '" + name + "'");
  };
  std::vector<std::pair<size_t, bool>> initialised;

  for (int i = 2; i < argc; ++i) {
    auto [flag, value] = StringRef(argv[i]).split('=');
    if (flag == "--kernel") {
      kernel = value.str();
    } else if (flag == "--grid") {
      triple(value, launch.grid);
    } else if (flag == "--threads") {
      triple(value, launch.threads);
    } else if (flag == "--cluster") {
      triple(value, launch.cluster);
    } else if (flag == "--shared") {
      launch.sharedBytes = uint32_t(number(value));
    } else if (flag == "--cooperative") {
      launch.cooperative = 1;
    } else if (flag == "--counters") {
      counters = true;
    } else if (flag == "--banks") {
      options.banks = 1;
    } else if (flag == "--repeat") {
      repeat = number(value);
    } else if (flag == "--workers") {
      options.workers = uint32_t(number(value));
    } else if (flag == "--timeout") {
      if (value.getAsDouble(options.timeout))
        die("'" + value + "' is no number");
    } else if (flag == "--checks") {
      options.checks = value == "none"   ? OTODUS_SIM_CHECK_NONE
                       : value == "fast" ? OTODUS_SIM_CHECK_FAST
                                         : OTODUS_SIM_CHECK_FULL;
    } else if (flag == "--async") {
      options.async = value == "early"   ? OTODUS_SIM_EARLY
                      : value == "mixed" ? OTODUS_SIM_MIXED
                                         : OTODUS_SIM_LATE;
    } else if (flag == "--order") {
      auto [order, seed] = value.split(':');
      options.order = order == "lifo"     ? OTODUS_SIM_LIFO
                      : order == "random" ? OTODUS_SIM_RANDOM
                                          : OTODUS_SIM_FIFO;
      if (!seed.empty())
        options.seed = uint64_t(number(seed));
    } else if (flag == "--print") {
      prints.push_back(value.str());
    } else if (flag == "--product") {
      products.push_back(value.str());
    } else if (flag == "--arg" || flag == "--hidden") {
      auto [first, rest] = value.split(':');
      void *slot;
      if (first == "i32") {
        int32_t v = int32_t(number(rest));
        memcpy(slot = malloc(4), &v, 4);
      } else if (first == "i64") {
        int64_t v = number(rest);
        memcpy(slot = malloc(8), &v, 8);
      } else if (first == "f32") {
        double v;
        rest.getAsDouble(v);
        float f = float(v);
        memcpy(slot = malloc(4), &f, 4);
      } else if (first == "map") {
        SmallVector<StringRef> parts, sizes, boxes;
        rest.split(parts, ':');
        parts[1].split(sizes, 'x');
        parts[2].split(boxes, 'x');
        Buffer &buffer = find(parts[0]);
        uint64_t size[5], stride[5];
        uint32_t box[5], step[5];
        uint64_t bytes = uint64_t(buffer.elementBytes());
        for (size_t d = 0; d < sizes.size(); ++d) {
          size[d] = uint64_t(number(sizes[d]));
          box[d] = uint32_t(number(boxes[d]));
          step[d] = 1;
          bytes *= size[d];
          stride[d] = bytes;
        }
        OtodusSimType type = buffer.type == "bf16"  ? OTODUS_SIM_BF16
                             : buffer.type == "f16" ? OTODUS_SIM_F16
                             : buffer.type == "f32" ? OTODUS_SIM_F32
                                                    : OTODUS_SIM_I32;
        auto *map = static_cast<OtodusSimTensorMap *>(aligned_alloc(64, 128));
        char error[256] = "";
        if (otodusSimEncodeTensorMap(map, type, uint32_t(sizes.size()), buffer.data, size, stride,
                                     box, step, uint32_t(number(parts[3])), 0, error,
                                     sizeof error)) {
          printf("tensor map: %s\n", error);
          return 1;
        }
        slot = map;
      } else {
        buffers.push_back(makeBuffer(value));
        initialised.push_back({buffers.size() - 1, !value.ends_with(":undef")});
        memcpy(slot = malloc(8), &buffers.back().data, 8);
      }
      if (flag == "--arg")
        params.push_back(slot);
    } else {
      die("unknown flag '" + flag + "'");
    }
  }

  DialectRegistry registry;
  registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect, otodus::gk::GkDialect>();
  MLIRContext context(registry);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(argv[1], &context);
  if (!module)
    return 1;
  PassManager passes(&context);
  passes.addPass(otodus::createNvvmToSim());
  if (failed(passes.run(*module)))
    return 1;
  otodus::CodeTarget target{"sim", "x86-64-v3", "", {}};
  auto code = otodus::emitCode(*module, target, 1);
  if (!code.isOk()) {
    fprintf(stderr, "otodus-sim-run: %s\n", code.status().message().c_str());
    return 1;
  }
  auto *blob = static_cast<uint8_t *>(mmap(nullptr, code->blob.size(), PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  memcpy(blob, code->blob.data(), code->blob.size());
  mprotect(blob, code->textBytes, PROT_READ | PROT_EXEC);
  mprotect(blob + code->textBytes, code->blob.size() - code->textBytes, PROT_READ);
  for (const auto &entry : code->entries)
    if (kernel.empty() ? !StringRef(entry.name).ends_with(".thread") : entry.name == kernel) {
      launch.kernel = reinterpret_cast<OtodusSimKernel>(blob + entry.offset);
      break;
    }
  if (!launch.kernel)
    die("the module has no kernel '" + kernel + "'");

  char error[256] = "";
  OtodusSimulator *simulator = otodusSimCreate(&options, error, sizeof error);
  if (!simulator)
    die(error);
  for (auto [index, valid] : initialised) {
    Buffer &buffer = buffers[index];
    size_t bytes = size_t(buffer.count * buffer.elementBytes());
    otodusSimRegister(simulator, buffer.data, bytes, buffer.name.c_str());
    otodusSimInitialised(simulator, buffer.data, bytes, valid);
  }
  launch.params = params.data();
  OtodusSimStatus status = OTODUS_SIM_OK;
  auto cpuSeconds = [] { return double(clock()) / CLOCKS_PER_SEC; };
  double begin = cpuSeconds();
  for (int64_t i = 0; i < repeat; ++i)
    status = otodusSimLaunch(simulator, &launch);
  double seconds = cpuSeconds() - begin;
  const char *const names[] = {"ok", "reports", "fault", "timeout", "invalid"};
  printf("status: %s\n", names[status]);
  for (size_t i = 0; i < otodusSimReportCount(simulator); ++i)
    printf("%s\n", otodusSimReport(simulator, i));
  for (size_t i = 0; options.banks && i < otodusSimBankCount(simulator); ++i)
    printf("banks: %s\n", otodusSimBank(simulator, i));
  for (const std::string &name : prints) {
    const Buffer &buffer = find(name);
    printf("%s =", name.c_str());
    for (int64_t i = 0; i < buffer.count; ++i)
      printf(" %g", buffer.get(i));
    printf("\n");
  }
  int result = 0;
  for (const std::string &text : products) {
    SmallVector<StringRef> parts, names3, sizes;
    StringRef(text).split(parts, ':');
    parts[1].split(names3, ',');
    parts[2].split(sizes, 'x');
    const Buffer &d = find(parts[0]), &a = find(names3[0]), &b = find(names3[1]);
    int64_t m = number(sizes[0]), n = number(sizes[1]), k = number(sizes[2]);
    double tolerance = 1e-5, worst = 0;
    if (parts.size() > 3)
      parts[3].getAsDouble(tolerance);
    int64_t wrong = 0;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l)
          sum += a.get(i * k + l) * b.get(j * k + l);
        double off = std::fabs(d.get(i * n + j) - sum);
        wrong += !(off <= tolerance);
        worst = off > worst ? off : worst;
      }
    printf("product: %lld of %lld elements are off by more than %g (most: %.1e)\n",
           static_cast<long long>(wrong), static_cast<long long>(m * n), tolerance, worst);
    result |= wrong != 0;
  }
  if (counters) {
    OtodusSimCounters c;
    otodusSimGetCounters(simulator, &c);
    printf("blocks %llu threads %llu collectives %llu barriers %llu loads %llu stores %llu shared "
           "%llu conflicts %llu\n",
           (unsigned long long)c.blocks, (unsigned long long)c.threads,
           (unsigned long long)c.collectives, (unsigned long long)c.barriers,
           (unsigned long long)c.loads, (unsigned long long)c.stores,
           (unsigned long long)c.sharedAccesses, (unsigned long long)c.bankConflicts);
    fprintf(stderr, "time: %.3f ms of CPU per launch\n", seconds * 1e3 / double(repeat));
  }
  otodusSimDestroy(simulator);
  return result;
}
