// Mathematics on the host: approximate instructions are exact and rounded once, .ftz forms flush,
// bf16 rounds to nearest even without a library.

// RUN: otodus-sim-run %s --kernel=functions --threads=1 --arg=out:f32[16]:undef --print=out | FileCheck %s --check-prefix=FUNCTIONS
// FUNCTIONS: status: ok
// FUNCTIONS-NEXT: out = 8 3 0.333333 0.57735 1.73205 0.995055 3 3 8 0.5 10 0 0 -3 8 0.0078125
// RUN: otodus-sim-run %s --kernel=bf16 --threads=1 --arg=out:f32[8]:undef --print=out | FileCheck %s --check-prefix=BF16
// 1 + 2^-8 is a tie and goes to even; 1 + 3 2^-8 goes up; the sum of two bf16 is rounded.
// BF16: status: ok
// BF16-NEXT: out = 1 1.01562 3.01562 1 nan inf 2 6
// RUN: otodus-sim-run %s --kernel=tf32 --threads=1 --arg=out:f32[4]:undef --print=out | FileCheck %s --check-prefix=TF32
// TF32: out = 1.00098 1 1.00195 1
// RUN: otodus-sim-run %s --kernel=doubles --threads=1 --arg=out:f32[4]:undef --print=out | FileCheck %s --check-prefix=DOUBLES
// DOUBLES: out = 0.333333 1 2 1.5

llvm.func @functions(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %three = llvm.mlir.constant(3.0 : f32) : f32
  %eight = llvm.mlir.constant(8.0 : f32) : f32
  %minus = llvm.mlir.constant(-3.0 : f32) : f32
  %tiny = llvm.mlir.constant(1.0e-40 : f32) : f32
  %one = llvm.mlir.constant(1.0 : f32) : f32
  %low = llvm.mlir.constant(-7.0 : f32) : f32
  %a = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%three) : (f32) -> f32
  llvm.store %a, %out : f32, !llvm.ptr<1>
  %b = llvm.call_intrinsic "llvm.nvvm.lg2.approx.ftz.f"(%eight) : (f32) -> f32
  %p1 = llvm.getelementptr %out[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %b, %p1 : f32, !llvm.ptr<1>
  %c = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"(%three) : (f32) -> f32
  %p2 = llvm.getelementptr %out[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %c, %p2 : f32, !llvm.ptr<1>
  %d = llvm.call_intrinsic "llvm.nvvm.rsqrt.approx.ftz.f"(%three) : (f32) -> f32
  %p3 = llvm.getelementptr %out[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d, %p3 : f32, !llvm.ptr<1>
  %e = llvm.intr.sqrt(%three) : (f32) -> f32
  %p4 = llvm.getelementptr %out[4] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %e, %p4 : f32, !llvm.ptr<1>
  %f = llvm.call_intrinsic "llvm.nvvm.tanh.approx.f"(%three) : (f32) -> f32
  %p5 = llvm.getelementptr %out[5] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %f, %p5 : f32, !llvm.ptr<1>
  %g = llvm.intr.fabs(%minus) : (f32) -> f32
  %p6 = llvm.getelementptr %out[6] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %g, %p6 : f32, !llvm.ptr<1>
  %h = llvm.intr.maxnum(%minus, %three) : (f32, f32) -> f32
  %p7 = llvm.getelementptr %out[7] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %h, %p7 : f32, !llvm.ptr<1>
  %i = llvm.intr.exp2(%three) : (f32) -> f32
  %p8 = llvm.getelementptr %out[8] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %i, %p8 : f32, !llvm.ptr<1>
  %half = llvm.fdiv %one, %three : f32
  %j0 = llvm.fmul %half, %three : f32
  %two = llvm.fadd %one, %j0 : f32
  %j = nvvm.rcp.approx.ftz.f %two : f32
  %p9 = llvm.getelementptr %out[9] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %j, %p9 : f32, !llvm.ptr<1>
  %k = llvm.intr.fma(%three, %three, %one) : (f32, f32, f32) -> f32
  %p10 = llvm.getelementptr %out[10] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %k, %p10 : f32, !llvm.ptr<1>
  // Subnormal operands count as zero: sqrt, and 2^x of a number whose power is subnormal.
  %l = llvm.call_intrinsic "llvm.nvvm.sqrt.approx.ftz.f"(%tiny) : (f32) -> f32
  %p11 = llvm.getelementptr %out[11] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %l, %p11 : f32, !llvm.ptr<1>
  %n130 = llvm.mlir.constant(-130.0 : f32) : f32
  %m = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%n130) : (f32) -> f32
  %p12 = llvm.getelementptr %out[12] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %m, %p12 : f32, !llvm.ptr<1>
  %third = llvm.mlir.constant(-2.5 : f32) : f32
  %n = llvm.intr.round(%third) : (f32) -> f32
  %p13 = llvm.getelementptr %out[13] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %n, %p13 : f32, !llvm.ptr<1>
  // Vectors of any size, element by element.
  %v = llvm.mlir.constant(dense<[3.0, -7.0, 0.0, 1.0]> : vector<4xf32>) : vector<4xf32>
  %w = llvm.intr.exp2(%v) : (vector<4xf32>) -> vector<4xf32>
  %i0 = llvm.mlir.constant(0 : i32) : i32
  %i1 = llvm.mlir.constant(1 : i32) : i32
  %w0 = llvm.extractelement %w[%i0 : i32] : vector<4xf32>
  %w1 = llvm.extractelement %w[%i1 : i32] : vector<4xf32>
  %p14 = llvm.getelementptr %out[14] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %w0, %p14 : f32, !llvm.ptr<1>
  %p15 = llvm.getelementptr %out[15] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %w1, %p15 : f32, !llvm.ptr<1>
  llvm.return
}

llvm.func @bf16(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %tie = llvm.mlir.constant(1.00390625 : f32) : f32
  %up = llvm.mlir.constant(1.01171875 : f32) : f32
  %nan = llvm.mlir.constant(0x7FC00000 : f32) : f32
  %most = llvm.mlir.constant(3.4e38 : f32) : f32
  %two = llvm.mlir.constant(2.0 : bf16) : bf16
  %a = llvm.fptrunc %tie : f32 to bf16
  %b = llvm.fptrunc %up : f32 to bf16
  %c = llvm.fadd %b, %two : bf16
  %d = llvm.fmul %a, %a : bf16
  %e = llvm.fptrunc %nan : f32 to bf16
  %f = llvm.fptrunc %most : f32 to bf16
  %g = llvm.intr.maxnum(%a, %two) : (bf16, bf16) -> bf16
  %u = llvm.mlir.poison : vector<2xbf16>
  %i0 = llvm.mlir.constant(0 : i32) : i32
  %i1 = llvm.mlir.constant(1 : i32) : i32
  %v0 = llvm.insertelement %two, %u[%i0 : i32] : vector<2xbf16>
  %v1 = llvm.insertelement %two, %v0[%i1 : i32] : vector<2xbf16>
  %v2 = llvm.intr.fma(%v1, %v1, %v1) : (vector<2xbf16>, vector<2xbf16>, vector<2xbf16>) -> vector<2xbf16>
  %h = llvm.extractelement %v2[%i1 : i32] : vector<2xbf16>
  %xa = llvm.fpext %a : bf16 to f32
  %xb = llvm.fpext %b : bf16 to f32
  %xc = llvm.fpext %c : bf16 to f32
  %xd = llvm.fpext %d : bf16 to f32
  %xe = llvm.fpext %e : bf16 to f32
  %xf = llvm.fpext %f : bf16 to f32
  %xg = llvm.fpext %g : bf16 to f32
  %xh = llvm.fpext %h : bf16 to f32
  llvm.store %xa, %out : f32, !llvm.ptr<1>
  %p1 = llvm.getelementptr %out[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xb, %p1 : f32, !llvm.ptr<1>
  %p2 = llvm.getelementptr %out[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xc, %p2 : f32, !llvm.ptr<1>
  %p3 = llvm.getelementptr %out[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xd, %p3 : f32, !llvm.ptr<1>
  %p4 = llvm.getelementptr %out[4] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xe, %p4 : f32, !llvm.ptr<1>
  %p5 = llvm.getelementptr %out[5] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xf, %p5 : f32, !llvm.ptr<1>
  %p6 = llvm.getelementptr %out[6] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xg, %p6 : f32, !llvm.ptr<1>
  %p7 = llvm.getelementptr %out[7] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %xh, %p7 : f32, !llvm.ptr<1>
  llvm.return
}

// 1 + 2^-11 is half way between two tf32: away from zero, to even, cut off.
llvm.func @tf32(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %tie = llvm.mlir.constant(1.00048828125 : f32) : f32
  %odd = llvm.mlir.constant(1.00146484375 : f32) : f32
  %a = nvvm.convert.float.to.tf32 %tie {rnd = #nvvm.fp_rnd_mode<rna>}
  %b = nvvm.convert.float.to.tf32 %tie {rnd = #nvvm.fp_rnd_mode<rn>}
  %c = nvvm.convert.float.to.tf32 %odd {rnd = #nvvm.fp_rnd_mode<rn>}
  %d = nvvm.convert.float.to.tf32 %tie {rnd = #nvvm.fp_rnd_mode<rz>}
  llvm.store %a, %out : i32, !llvm.ptr<1>
  %p1 = llvm.getelementptr %out[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %b, %p1 : i32, !llvm.ptr<1>
  %p2 = llvm.getelementptr %out[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %c, %p2 : i32, !llvm.ptr<1>
  %p3 = llvm.getelementptr %out[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d, %p3 : i32, !llvm.ptr<1>
  llvm.return
}

llvm.func @doubles(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1.0 : f64) : f64
  %three = llvm.mlir.constant(3.0 : f64) : f64
  %a = llvm.fdiv %one, %three : f64
  %b = llvm.intr.fma(%a, %three, %one) : (f64, f64, f64) -> f64
  %c = llvm.intr.exp2(%one) : (f64) -> f64
  %d = llvm.frem %three, %b : f64
  %bad = llvm.fsub %b, %one : f64
  %e = llvm.fmul %three, %a : f64
  %f = llvm.fdiv %three, %b : f64
  %x = llvm.fptrunc %a : f64 to f32
  %y = llvm.fptrunc %d : f64 to f32
  %z = llvm.fptrunc %c : f64 to f32
  %w = llvm.fptrunc %f : f64 to f32
  llvm.store %x, %out : f32, !llvm.ptr<1>
  %p1 = llvm.getelementptr %out[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %y, %p1 : f32, !llvm.ptr<1>
  %p2 = llvm.getelementptr %out[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %z, %p2 : f32, !llvm.ptr<1>
  %p3 = llvm.getelementptr %out[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %w, %p3 : f32, !llvm.ptr<1>
  llvm.return
}
