//===- Fiber.cpp - Switching between stacks --------------------------------===//

#include "Fiber.h"

#include <sys/mman.h>

// A switch pushes the registers that a callee must preserve, exchanges the stack pointer and pops
// them again. Floating-point control state is the same in all fibers.
extern "C" void otodusSimSwitchStack(void **save, void *to);
extern "C" void otodusSimEnterFiber();

#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl otodusSimSwitchStack
  .hidden otodusSimSwitchStack
  .type otodusSimSwitchStack,@function
otodusSimSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size otodusSimSwitchStack,.-otodusSimSwitchStack

  .p2align 4
  .globl otodusSimEnterFiber
  .hidden otodusSimEnterFiber
  .type otodusSimEnterFiber,@function
otodusSimEnterFiber:
  movq %r12, %rdi
  callq *%r13
  ud2
  .size otodusSimEnterFiber,.-otodusSimEnterFiber
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .p2align 4
  .globl otodusSimSwitchStack
  .hidden otodusSimSwitchStack
  .type otodusSimSwitchStack,%function
otodusSimSwitchStack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size otodusSimSwitchStack,.-otodusSimSwitchStack

  .p2align 4
  .globl otodusSimEnterFiber
  .hidden otodusSimEnterFiber
  .type otodusSimEnterFiber,%function
otodusSimEnterFiber:
  mov x0, x19
  blr x20
  brk #0
  .size otodusSimEnterFiber,.-otodusSimEnterFiber
)");
#else
#error "the simulator's fibers are written for x86-64 and AArch64"
#endif

namespace otodus::sim {

void Fiber::prepare(void *top, void (*entry)(void *), void *argument) {
  auto *slot = static_cast<void **>(top);
#if defined(__x86_64__)
  // The address after the popped registers is where `ret` goes; at otodusSimEnterFiber the stack
  // pointer is a multiple of 16, as before a call.
  *--slot = nullptr;
  *--slot = nullptr;
  *--slot = reinterpret_cast<void *>(&otodusSimEnterFiber);
  *--slot = nullptr;                          // rbp
  *--slot = nullptr;                          // rbx
  *--slot = argument;                         // r12
  *--slot = reinterpret_cast<void *>(entry);  // r13
  *--slot = nullptr;                          // r14
  *--slot = nullptr;                          // r15
#else
  slot -= 20;
  for (int i = 0; i < 20; ++i)
    slot[i] = nullptr;
  slot[0] = argument;                          // x19
  slot[1] = reinterpret_cast<void *>(entry);   // x20
  slot[11] = reinterpret_cast<void *>(&otodusSimEnterFiber); // x30
#endif
  stackPointer = slot;
}

void switchFiber(Fiber &from, Fiber &to) {
  otodusSimSwitchStack(&from.stackPointer, to.stackPointer);
}

StackPool::~StackPool() {
  if (base_)
    munmap(base_, count_ * kStride);
}

bool StackPool::reserve(uint32_t count) {
  if (count <= count_)
    return true;
  if (base_)
    munmap(base_, count_ * kStride);
  base_ = nullptr;
  count_ = 0;
  void *memory = mmap(nullptr, count * kStride, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED)
    return false;
  base_ = static_cast<uint8_t *>(memory);
  count_ = count;
  for (uint32_t i = 0; i < count; ++i)
    mprotect(base_ + i * kStride, 4096, PROT_NONE);
  return true;
}

void *StackPool::top(uint32_t index) const {
  return base_ + (index + 1) * kStride - 64 - (index % 31) * 192;
}

} // namespace otodus::sim
