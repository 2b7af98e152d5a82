//===- SimKernels.cpp - The kernels of a file, ready for the simulator -----===//

#include "SimKernels.h"

#include "otodus/Codegen/Sim/Passes.h"
#include "otodus/Target/ObjectCode.h"

#include "gk/IR/GkOps.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace otodus::sim::test {

Kernels::Kernels(const std::string &file) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::LLVM::LLVMDialect, mlir::NVVM::NVVMDialect, gk::GkDialect>();
  mlir::MLIRContext context(registry);
  std::string path = std::string(OTODUS_SIM_TEST_FOLDER "/") + file;
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(path, &context);
  if (!module) {
    ADD_FAILURE() << file << " does not parse";
    return;
  }
  mlir::PassManager passes(&context);
  passes.addPass(createNvvmToSim());
  if (failed(passes.run(*module))) {
    ADD_FAILURE() << file << " is nothing that the simulator runs";
    return;
  }
  auto code = emitCode(*module, {"sim", "x86-64-v3", "", {}}, 1);
  if (!code.isOk()) {
    ADD_FAILURE() << code.status().message();
    return;
  }
  bytes_ = code->blob.size();
  blob_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memcpy(blob_, code->blob.data(), bytes_);
  mprotect(blob_, code->textBytes, PROT_READ | PROT_EXEC);
  for (const auto &entry : code->entries)
    kernels_[entry.name] =
        reinterpret_cast<OtodusSimKernel>(static_cast<uint8_t *>(blob_) + entry.offset);
}

Kernels::~Kernels() {
  if (blob_)
    munmap(blob_, bytes_);
}

OtodusSimKernel Kernels::operator[](const std::string &name) const {
  auto found = kernels_.find(name);
  if (found != kernels_.end())
    return found->second;
  ADD_FAILURE() << "no kernel " << name;
  return nullptr;
}

Launch::Launch(OtodusSimKernel kernel, uint32_t threads, uint32_t sharedBytes) {
  launch_.size = sizeof launch_;
  launch_.kernel = kernel;
  launch_.grid[0] = launch_.grid[1] = launch_.grid[2] = 1;
  launch_.threads[0] = threads;
  launch_.threads[1] = launch_.threads[2] = 1;
  launch_.sharedBytes = sharedBytes;
  options_.size = sizeof options_;
  options_.checks = OTODUS_SIM_CHECK_FULL;
  options_.workers = 1;
}

Launch::~Launch() = default;

Launch &Launch::memory(void *data, size_t bytes, const char *name, bool written, bool isParameter) {
  ranges_.push_back({data, bytes, name, written});
  return isParameter ? value(data) : *this;
}

Launch &Launch::map(const OtodusSimTensorMap &map) {
  maps_.push_back(std::make_unique<Map>(Map{map}));
  mapOf_.resize(values_.size() + 1, -1);
  mapOf_[values_.size()] = static_cast<int>(maps_.size() - 1);
  values_.emplace_back();
  return *this;
}

Launch &Launch::cluster(uint32_t blocks) {
  launch_.cluster[0] = launch_.grid[0] = blocks;
  launch_.cluster[1] = launch_.cluster[2] = 1;
  return *this;
}

Launch &Launch::grid(uint32_t blocks) {
  launch_.grid[0] = blocks;
  return *this;
}

Launch &Launch::async(OtodusSimAsync when) {
  options_.async = when;
  return *this;
}

OtodusSimStatus Launch::run() {
  if (!launch_.kernel)
    return OTODUS_SIM_INVALID;
  char error[256] = "";
  OtodusSimulator *simulator = otodusSimCreate(&options_, error, sizeof error);
  EXPECT_NE(simulator, nullptr) << error;
  if (!simulator)
    return OTODUS_SIM_INVALID;
  for (const Range &range : ranges_) {
    EXPECT_EQ(otodusSimRegister(simulator, range.data, range.bytes, range.name.c_str()), 0);
    otodusSimInitialised(simulator, range.data, range.bytes, range.written);
  }
  mapOf_.resize(values_.size(), -1);
  std::vector<void *> params;
  for (size_t i = 0; i < values_.size(); ++i)
    if (mapOf_[i] >= 0)
      params.push_back(maps_[static_cast<size_t>(mapOf_[i])].get());
    else
      params.push_back(values_[i].data());
  launch_.params = params.data();
  OtodusSimStatus status = otodusSimLaunch(simulator, &launch_);
  for (size_t i = 0; i < otodusSimReportCount(simulator); ++i)
    reports_ += std::string(otodusSimReport(simulator, i)) + "\n";
  otodusSimDestroy(simulator);
  return status;
}

OtodusSimTensorMap encode(OtodusSimType type, void *base, std::vector<uint64_t> size,
                          std::vector<uint32_t> box, uint32_t swizzle, uint64_t pitch,
                          bool fillNaN) {
  alignas(64) OtodusSimTensorMap map = {};
  uint64_t bytes = type == OTODUS_SIM_F32 || type == OTODUS_SIM_I32 ? 4
                   : type == OTODUS_SIM_I8                          ? 1
                                                                    : 2;
  std::vector<uint64_t> stride;
  uint64_t distance = pitch ? pitch : size[0] * bytes;
  for (size_t i = 1; i < size.size(); ++i) {
    stride.push_back(distance);
    distance *= size[i];
  }
  std::vector<uint32_t> step(size.size(), 1);
  char error[256] = "";
  EXPECT_EQ(otodusSimEncodeTensorMap(&map, type, static_cast<uint32_t>(size.size()), base,
                                     size.data(), stride.data(), box.data(), step.data(), swizzle,
                                     fillNaN, error, sizeof error),
            0)
      << error;
  return map;
}

} // namespace otodus::sim::test
