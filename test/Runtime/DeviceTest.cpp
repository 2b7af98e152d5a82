//===- DeviceTest.cpp ------------------------------------------------------===//

#include "otodus/Runtime/Device.h"
#include "otodus/Runtime/ThreadPool.h"

#include <gtest/gtest.h>

using namespace otodus;
using namespace otodus::runtime;

namespace {

formats::Code codeFor(const std::string &target, std::vector<std::string> features) {
  formats::Code code;
  code.target = target;
  code.features = std::move(features);
  return code;
}

Result<CodeChoice> choose(std::vector<formats::Code> codes) {
  formats::Artefact artefact;
  artefact.programs.emplace_back();
  for (formats::Code &code : codes)
    artefact.programs[0].code.push_back(std::move(code));
  return chooseCode(artefact, *cpuDevice());
}

#if defined(__x86_64__)
TEST(Device, RunsABlob) {
  formats::Code code = codeFor("cpu:x86-64", {"sse2"});
  code.blob = {
      0xc3,                                     // empty: ret
      0x48, 0x8b, 0x07,                         // store: mov rax, [rdi]    buffers
      0x48, 0x8b, 0x00,                         //        mov rax, [rax]    buffers[0]
      0x48, 0xc7, 0x00, 0x2a, 0x00, 0x00, 0x00, //        mov qword [rax], 42
      0xc3,                                     //        ret
      1,    2,    3,                            // read-only data
  };
  code.textBytes = 15;
  code.entries = {{"empty", 0}, {"store", 1}};
  Result<std::shared_ptr<const Image>> image = cpuDevice()->load(code);
  ASSERT_TRUE(image.isOk()) << image.status().message();
  EXPECT_EQ((*image)->find("missing"), nullptr);
  ASSERT_NE((*image)->find("store"), nullptr);

  alignas(64) int64_t out = 0;
  void *buffers[] = {&out};
  ThreadPoolOptions options;
  options.threads = 2;
  ThreadPool pool(options);
  auto stream = cpuDevice()->stream(pool);
  ASSERT_TRUE(stream.isOk());
  KernelCall call;
  call.buffers = buffers;
  call.bufferCount = 1;
  call.batch = call.length = call.rows = 1;
  call.items = 5;
  call.kernel = (*image)->find("empty");
  ASSERT_TRUE((*stream)->launch(call).isOk());
  EXPECT_EQ(out, 0);
  call.items = 1;
  call.kernel = (*image)->find("store");
  ASSERT_TRUE((*stream)->launch(call).isOk());
  EXPECT_EQ(out, 42);
}
#endif

TEST(Device, RefusesEntriesOutsideTheText) {
  formats::Code code = codeFor("cpu:x86-64", {});
  code.blob = {0xc3, 0, 0, 0};
  code.textBytes = 1;
  code.entries.resize(1);
  code.entries[0].name = "kernel";
  code.entries[0].offset = 2;
  Status status = cpuDevice()->load(code).status();
  EXPECT_EQ(status.code(), Code::File);
  EXPECT_NE(status.message().find("'kernel'"), std::string::npos) << status.message();
  code.entries.clear();
  code.textBytes = 5000;
  EXPECT_EQ(cpuDevice()->load(code).status().code(), Code::File);
}

TEST(Device, NamesTheFeaturesThatAreMissing) {
  formats::Code code = codeFor("cpu:x86-64-v9", {"sse2", "avx9000", "quantum"});
  code.blob = {0xc3};
  code.textBytes = 1;
  EXPECT_EQ(cpuDevice()->rank(code).status().message(), "needs avx9000, quantum");
  for (const Status &status : {cpuDevice()->load(code).status(), choose({code}).status()}) {
    EXPECT_EQ(status.code(), Code::Target);
    EXPECT_NE(status.message().find("avx9000, quantum"), std::string::npos) << status.message();
    EXPECT_EQ(status.message().find("sse2"), std::string::npos) << status.message();
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }
}

TEST(Device, ChoosesTheCodeThatUsesMost) {
  Result<CodeChoice> choice = choose({codeFor("cpu:x86-64", {}), codeFor("cpu:x86-64-v2", {"sse2"}),
                                      codeFor("cpu:x86-64-v9", {"sse2", "avx9000"}),
                                      codeFor("cuda:sm_90a", {"wgmma", "tma", "x"})});
  ASSERT_TRUE(choice.isOk());
  EXPECT_EQ(choice->code, 1u);
  EXPECT_EQ(choose({}).status().code(), Code::File);
  Status none = choose({codeFor("cuda:sm_90a", {})}).status();
  EXPECT_EQ(none.code(), Code::Target);
  EXPECT_NE(none.message().find("cuda:sm_90a"), std::string::npos);
}

TEST(Device, MemoryIsZeroAndAligned) {
  for (size_t bytes : {size_t(1), size_t(5000), size_t(5) << 20}) {
    Result<Memory> memory = Memory::allocate(cpuDevice(), bytes);
    ASSERT_TRUE(memory.isOk());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % (bytes > (2 << 20) ? 2 << 20 : 64), 0u);
    for (size_t i = 0; i < bytes; i += 4093)
      ASSERT_EQ(memory->data()[i], std::byte(0));
    memory->data()[bytes - 1] = std::byte(1);
  }
  Status refused = Memory::allocate(cpuDevice(), size_t(1) << 59).status();
  EXPECT_EQ(refused.code(), Code::Device);
}

} // namespace
