//===- EmulatorTest.cpp - The emulator against the PTX ISA ----------------===//
//
// Kernels in LLVM IR by hand, expected values from the definitions and figures
// of the PTX ISA, not from the emulator.
//
//===----------------------------------------------------------------------===//
#include "Emulator.h"
#include "gtest/gtest.h"

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

using namespace qc::test::nvvm;

static const std::string head = R"(
target triple = "nvptx64-nvidia-cuda"
@shared = internal unnamed_addr addrspace(3) global [1024 x i32] undef, align 16
@dynamic = external addrspace(3) global [0 x i32], align 16
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.tid.y()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()
declare i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.laneid()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.barrier.cta.sync.aligned.count(i32, i32)
declare i32 @llvm.nvvm.shfl.sync.up.i32(i32, i32, i32, i32)
declare i32 @llvm.nvvm.shfl.sync.down.i32(i32, i32, i32, i32)
declare float @llvm.nvvm.shfl.sync.bfly.f32(i32, float, i32, i32)
declare { i32, i1 } @llvm.nvvm.shfl.sync.idx.i32p(i32, i32, i32, i32)
declare i32 @llvm.nvvm.vote.ballot.sync(i32, i1)
declare i1 @llvm.nvvm.vote.all.sync(i32, i1)
declare i32 @llvm.nvvm.redux.sync.add(i32, i32)
declare i32 @llvm.nvvm.idp4a.s.s(i32, i32, i32)
declare i32 @llvm.nvvm.idp4a.u.s(i32, i32, i32)
declare i32 @llvm.nvvm.prmt(i32, i32, i32)
declare float @llvm.nvvm.ex2.approx.ftz.f32(float)
declare float @llvm.nvvm.rsqrt.approx.f(float)
declare i32 @llvm.nvvm.f2i.rn(float)
declare i32 @llvm.nvvm.f2i.rz(float)
declare float @llvm.nvvm.div.approx.f(float, float)
declare void @llvm.nvvm.cp.async.ca.shared.global.16(ptr addrspace(3), ptr addrspace(1))
declare void @llvm.nvvm.cp.async.commit.group()
declare void @llvm.nvvm.cp.async.wait.group(i32)
declare { i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.b16.p3(ptr addrspace(3))
declare i32 @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3(ptr addrspace(3))
declare { i32, i32, i32, i32 } @llvm.nvvm.mma.m16n8k32.row.col.s8(i32, i32, i32, i32, i32, i32, i32, i32, i32, i32)
declare { i32, i32, i32, i32 } @llvm.nvvm.mma.m16n8k16.row.col.u8.s8(i32, i32, i32, i32, i32, i32, i32)
declare { float, float, float, float } @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, <2 x half>, float, float, float, float)
)";

namespace {

class EmulatorTest : public testing::Test {
protected:
  /// Runs the kernel @k of `body`; the error, or "".
  std::string run(const std::string &body, LaunchSize size,
                  std::vector<void *> pointers) {
    std::string error;
    auto emulator = Emulator::create(head + body, error);
    if (!emulator)
      return error;
    const Kernel *kernel = emulator->find("k");
    if (!kernel || kernel->parameters.size() != pointers.size())
      return "no kernel k with that many parameters";
    std::vector<void *> parameters;
    for (void *&pointer : pointers)
      parameters.push_back(&pointer);
    emulator->launch(*kernel, size, parameters.data(), error);
    return error;
  }
};

} // namespace

TEST_F(EmulatorTest, IdsCoverTheGrid) {
  // out[((by * 3 + bx) * 2 + ty) * 5 + tx] = 1
  std::vector<int32_t> out(3 * 2 * 5 * 2, 0);
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) "target-cpu"="sm_80" {
  %tx = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %ty = call i32 @llvm.nvvm.read.ptx.sreg.tid.y()
  %bx = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %by = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()
  %nx = call i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
  %n = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %a = mul i32 %by, %nx
  %b = add i32 %a, %bx
  %c = mul i32 %b, 2
  %d = add i32 %c, %ty
  %e = mul i32 %d, %n
  %f = add i32 %e, %tx
  %p = getelementptr i32, ptr addrspace(1) %out, i32 %f
  %old = load i32, ptr addrspace(1) %p
  %new = add i32 %old, 1
  store i32 %new, ptr addrspace(1) %p
  ret void
})",
                {{3, 2, 1}, {5, 2, 1}}, {out.data()}),
            "");
  EXPECT_EQ(out, std::vector<int32_t>(60, 1));
}

/// A tree of sums through shared memory, with and without its barriers.
static std::string reduction(bool barriers, const std::string &memory) {
  std::string barrier =
      barriers ? "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n"
               : "";
  return R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %n = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %pi = getelementptr i32, ptr addrspace(1) %in, i32 %t
  %x = load i32, ptr addrspace(1) %pi
  %ps = getelementptr i32, ptr addrspace(3) )" +
         memory + R"(, i32 %t
  %generic = addrspacecast ptr addrspace(3) %ps to ptr
  store i32 %x, ptr %generic
  br label %loop
loop:
  %w = phi i32 [%n, %entry], [%half, %next]
  %half = lshr i32 %w, 1
)" + barrier +
         R"(
  %in.range = icmp ult i32 %t, %half
  br i1 %in.range, label %add, label %next
add:
  %o = add i32 %t, %half
  %po = getelementptr i32, ptr addrspace(3) )" +
         memory + R"(, i32 %o
  %a = load i32, ptr addrspace(3) %ps
  %b = load i32, ptr addrspace(3) %po
  %sum = add i32 %a, %b
  store i32 %sum, ptr addrspace(3) %ps
  br label %next
next:
  %more = icmp ugt i32 %half, 1
  br i1 %more, label %loop, label %done
done:
  %r = load i32, ptr addrspace(3) )" +
         memory + R"(
  store i32 %r, ptr addrspace(1) %out
  ret void
})";
}

TEST_F(EmulatorTest, ReductionThroughSharedMemory) {
  std::vector<int32_t> in(256);
  std::iota(in.begin(), in.end(), 1);
  int32_t out = 0;
  ASSERT_EQ(run(reduction(true, "@shared"), {{1, 1, 1}, {256, 1, 1}},
                {in.data(), &out}),
            "");
  EXPECT_EQ(out, 256 * 257 / 2);
  ASSERT_EQ(run(reduction(true, "@dynamic"), {{1, 1, 1}, {256, 1, 1}, 1024},
                {in.data(), &out}),
            "");
  EXPECT_EQ(out, 256 * 257 / 2);
  // Without barriers the poison of shared memory shows.
  ASSERT_EQ(run(reduction(false, "@shared"), {{1, 1, 1}, {256, 1, 1}},
                {in.data(), &out}),
            "");
  EXPECT_NE(out, 256 * 257 / 2);
}

TEST_F(EmulatorTest, BarrierThatNotAllReach) {
  std::string body = R"(
define ptx_kernel void @k() {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %c = icmp ult i32 %t, 60
  br i1 %c, label %wait, label %end
wait:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %end
end:
  ret void
})";
  EXPECT_EQ(run(body, {{1, 1, 1}, {64, 1, 1}}, {}),
            "k, block (0, 0, 0): barrier 0 of 64 threads: thread 60 does not "
            "reach it, it has ended");
  size_t at = body.find("aligned.all(i32 0)");
  body.replace(at, 18, "aligned.count(i32 1, i32 60)");
  EXPECT_EQ(run(body, {{1, 1, 1}, {64, 1, 1}}, {}), "");
}

TEST_F(EmulatorTest, Shuffles) {
  // Five results a lane: up 3, down 5 in segments of 8, bfly 9 of the lane as a
  // float, idx 2 in segments of 16 and its predicate.
  std::vector<int32_t> out(5 * 32, -1);
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %up = call i32 @llvm.nvvm.shfl.sync.up.i32(i32 -1, i32 %l, i32 3, i32 0)
  %down = call i32 @llvm.nvvm.shfl.sync.down.i32(i32 -1, i32 %l, i32 5, i32 6175)
  %f = sitofp i32 %l to float
  %b = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %f, i32 9, i32 31)
  %bi = fptosi float %b to i32
  %x = call { i32, i1 } @llvm.nvvm.shfl.sync.idx.i32p(i32 -1, i32 %l, i32 2, i32 4127)
  %xv = extractvalue { i32, i1 } %x, 0
  %xp = extractvalue { i32, i1 } %x, 1
  %xi = zext i1 %xp to i32
  %at = mul i32 %l, 5
  %p0 = getelementptr i32, ptr addrspace(1) %out, i32 %at
  %p1 = getelementptr i32, ptr addrspace(1) %p0, i32 1
  %p2 = getelementptr i32, ptr addrspace(1) %p0, i32 2
  %p3 = getelementptr i32, ptr addrspace(1) %p0, i32 3
  %p4 = getelementptr i32, ptr addrspace(1) %p0, i32 4
  store i32 %up, ptr addrspace(1) %p0
  store i32 %down, ptr addrspace(1) %p1
  store i32 %bi, ptr addrspace(1) %p2
  store i32 %xv, ptr addrspace(1) %p3
  store i32 %xi, ptr addrspace(1) %p4
  ret void
})",
                {{1, 1, 1}, {32, 1, 1}}, {out.data()}),
            "");
  for (int lane = 0; lane < 32; ++lane) {
    const int32_t *row = &out[static_cast<size_t>(5 * lane)];
    EXPECT_EQ(row[0], lane < 3 ? lane : lane - 3);
    EXPECT_EQ(row[1], lane % 8 + 5 < 8 ? lane + 5 : lane);
    EXPECT_EQ(row[2], lane ^ 9);
    EXPECT_EQ(row[3], lane / 16 * 16 + 2);
    EXPECT_EQ(row[4], 1);
  }
}

TEST_F(EmulatorTest, MissingLanes) {
  std::string body = R"(
define ptx_kernel void @k() {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %c = icmp ne i32 %l, 7
  br i1 %c, label %yes, label %no
yes:
  %a = call i32 @llvm.nvvm.shfl.sync.up.i32(i32 MASK, i32 %l, i32 1, i32 0)
  ret void
no:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  ret void
})";
  auto with = [&](const std::string &mask) {
    std::string text = body;
    return text.replace(text.find("MASK"), 4, mask);
  };
  EXPECT_EQ(run(with("-1"), {{1, 1, 1}, {32, 1, 1}}, {}),
            "k, block (0, 0, 0): shfl.sync.up.i32, mask 0xffffffff: lane 7 of "
            "warp 0 is missing, it waits at a barrier");
  EXPECT_EQ(run(with("-1"), {{1, 1, 1}, {20, 1, 1}}, {}),
            "k, block (0, 0, 0): shfl.sync.up.i32, mask 0xffffffff: lane 7 of "
            "warp 0 is missing, it waits at a barrier");
  EXPECT_EQ(run(with("127"), {{1, 1, 1}, {32, 1, 1}}, {}),
            "k, block (0, 0, 0): shfl.sync.up.i32, mask 0x7f: lane 8 itself is "
            "not in the mask");
  // Lane 8 reads lane 7.
  EXPECT_EQ(run(with("-129"), {{1, 1, 1}, {32, 1, 1}}, {}),
            "k, block (0, 0, 0): shfl.sync.up.i32, mask 0xffffff7f: a lane "
            "reads from one that does not take part");
}

TEST_F(EmulatorTest, VotesAndReductions) {
  std::vector<int32_t> out(32 * 3);
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %c = icmp ult i32 %l, 5
  %b = call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, i1 %c)
  %a = call i1 @llvm.nvvm.vote.all.sync(i32 -1, i1 %c)
  %ai = zext i1 %a to i32
  %r = call i32 @llvm.nvvm.redux.sync.add(i32 %l, i32 -1)
  %at = mul i32 %l, 3
  %p0 = getelementptr i32, ptr addrspace(1) %out, i32 %at
  %p1 = getelementptr i32, ptr addrspace(1) %p0, i32 1
  %p2 = getelementptr i32, ptr addrspace(1) %p0, i32 2
  store i32 %b, ptr addrspace(1) %p0
  store i32 %ai, ptr addrspace(1) %p1
  store i32 %r, ptr addrspace(1) %p2
  ret void
})",
                {{1, 1, 1}, {32, 1, 1}}, {out.data()}),
            "");
  for (size_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[3 * lane], 0x1f);
    EXPECT_EQ(out[3 * lane + 1], 0);
    EXPECT_EQ(out[3 * lane + 2], 31 * 32 / 2);
  }
}

TEST_F(EmulatorTest, ScalarInstructions) {
  struct {
    uint32_t a, b, c;
    int32_t signedDot, mixedDot;
    uint32_t bytes;
    float power, root;
  } io = {0x80ff017f, 0x0280ff03, 100, 0, 0, 0, 0, 0};
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %io) {
  %v = load <3 x i32>, ptr addrspace(1) %io, align 4
  %a = extractelement <3 x i32> %v, i32 0
  %b = extractelement <3 x i32> %v, i32 1
  %c = extractelement <3 x i32> %v, i32 2
  %s = call i32 @llvm.nvvm.idp4a.s.s(i32 %a, i32 %b, i32 %c)
  %m = call i32 @llvm.nvvm.idp4a.u.s(i32 %a, i32 %b, i32 %c)
  %x = call i32 @llvm.nvvm.prmt(i32 %a, i32 %b, i32 46176)
  %e = call float @llvm.nvvm.ex2.approx.ftz.f32(float -3.0)
  %r = call float @llvm.nvvm.rsqrt.approx.f(float 16.0)
  %p3 = getelementptr i32, ptr addrspace(1) %io, i32 3
  %p4 = getelementptr i32, ptr addrspace(1) %io, i32 4
  %p5 = getelementptr i32, ptr addrspace(1) %io, i32 5
  %p6 = getelementptr i32, ptr addrspace(1) %io, i32 6
  %p7 = getelementptr i32, ptr addrspace(1) %io, i32 7
  store i32 %s, ptr addrspace(1) %p3
  store i32 %m, ptr addrspace(1) %p4
  store i32 %x, ptr addrspace(1) %p5
  store float %e, ptr addrspace(1) %p6
  store float %r, ptr addrspace(1) %p7
  ret void
})",
                {}, {&io}),
            "");
  // Bytes from the lowest: a 7f 01 ff 80, b 03 ff 80 02.
  EXPECT_EQ(io.signedDot, 100 + 127 * 3 + 1 * -1 + -1 * -128 + -128 * 2);
  EXPECT_EQ(io.mixedDot, 100 + 127 * 3 + 1 * -1 + 255 * -128 + 128 * 2);
  // Selectors 0, 6, 4, 11 from the lowest: a0, b2, b0, sign of a3.
  EXPECT_EQ(io.bytes, 0xff03807fu);
  EXPECT_EQ(io.power, 0.125f);
  EXPECT_EQ(io.root, 0.25f);
}

TEST_F(EmulatorTest, PermutesBytes) {
  // Thread t: selectors t, t + 3, t + 6, t + 9 modulo 16 from the lowest; the
  // upper half of c is ignored.
  uint32_t out[16];
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %t1 = add i32 %t, 3
  %t2 = add i32 %t, 6
  %t3 = add i32 %t, 9
  %m1 = and i32 %t1, 15
  %m2 = and i32 %t2, 15
  %m3 = and i32 %t3, 15
  %s1 = shl i32 %m1, 4
  %s2 = shl i32 %m2, 8
  %s3 = shl i32 %m3, 12
  %c1 = or i32 %t, %s1
  %c2 = or i32 %c1, %s2
  %c3 = or i32 %c2, %s3
  %c = or i32 %c3, 1985216512
  %a = add i32 %t, 2162171905
  %b = add i32 %t, 2273572480
  %x = call i32 @llvm.nvvm.prmt(i32 %a, i32 %b, i32 %c)
  %p = getelementptr i32, ptr addrspace(1) %out, i32 %t
  store i32 %x, ptr addrspace(1) %p
  ret void
})",
                {{1, 1, 1}, {16, 1, 1}}, {out}),
            "");
  for (uint32_t t = 0; t < 16; ++t) {
    // "{b, a} = {{b7, b6, b5, b4}, {b3, b2, b1, b0}}"; "msb=1 means replicate
    // the sign".
    uint32_t a = 0x80e02001u + t, b = 0x8783f680u + t;
    for (uint32_t i = 0; i < 4; ++i) {
      uint32_t selector = (t + 3 * i) % 16, index = selector % 8;
      uint32_t byte = (index < 4 ? a : b) >> (8 * (index % 4)) & 0xff;
      if (selector >= 8)
        byte = byte >= 0x80 ? 0xff : 0;
      EXPECT_EQ(out[t] >> (8 * i) & 0xff, byte) << t << " " << i;
    }
  }
}

TEST_F(EmulatorTest, Conversions) {
  float in[] = {2.5f, 3.5f, -1.75f, 3e9f, NAN, -7.0f};
  int32_t out[18];
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %pi = getelementptr float, ptr addrspace(1) %in, i32 %t
  %x = load float, ptr addrspace(1) %pi
  %n = call i32 @llvm.nvvm.f2i.rn(float %x)
  %z = call i32 @llvm.nvvm.f2i.rz(float %x)
  %q = call float @llvm.nvvm.div.approx.f(float %x, float 2.0)
  %b = bitcast float %q to i32
  %at = mul i32 %t, 3
  %p0 = getelementptr i32, ptr addrspace(1) %out, i32 %at
  %p1 = getelementptr i32, ptr addrspace(1) %p0, i32 1
  %p2 = getelementptr i32, ptr addrspace(1) %p0, i32 2
  store i32 %n, ptr addrspace(1) %p0
  store i32 %z, ptr addrspace(1) %p1
  store i32 %b, ptr addrspace(1) %p2
  ret void
})",
                {{1, 1, 1}, {6, 1, 1}}, {in, out}),
            "");
  const int32_t nearest[] = {2, 4, -2, 0x7fffffff, 0, -7},
                towardsZero[] = {2, 3, -1, 0x7fffffff, 0, -7};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(out[3 * i], nearest[i]);
    EXPECT_EQ(out[3 * i + 1], towardsZero[i]);
    if (i != 4) {
      EXPECT_EQ(std::bit_cast<float>(out[3 * i + 2]), in[i] / 2);
    }
  }
}

/// A copy of 16 bytes that is waited for, or only all but one group is.
TEST_F(EmulatorTest, AsynchronousCopies) {
  int32_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[2];
  std::string body = R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %second = getelementptr i32, ptr addrspace(1) %in, i32 4
  %to = getelementptr i32, ptr addrspace(3) @shared, i32 4
  call void @llvm.nvvm.cp.async.ca.shared.global.16(ptr addrspace(3) @shared, ptr addrspace(1) %in)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.ca.shared.global.16(ptr addrspace(3) %to, ptr addrspace(1) %second)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.wait.group(i32 LEFT)
  %a = load i32, ptr addrspace(3) @shared
  %b = load i32, ptr addrspace(3) %to
  %p1 = getelementptr i32, ptr addrspace(1) %out, i32 1
  store i32 %a, ptr addrspace(1) %out
  store i32 %b, ptr addrspace(1) %p1
  ret void
})";
  for (int left : {0, 1, 2}) {
    std::string text = body;
    text.replace(text.find("LEFT"), 4, std::to_string(left));
    ASSERT_EQ(run(text, {}, {in, out}), "");
    EXPECT_EQ(out[0], left < 2 ? 1 : -1);
    EXPECT_EQ(out[1], left < 1 ? 5 : -1);
  }
}

TEST_F(EmulatorTest, MatrixLoads) {
  // Two 8x8 matrices of b16 with element (m, r, c) = 100 m + 10 r + c.
  std::vector<uint16_t> in(128);
  for (size_t m = 0; m < 2; ++m)
    for (size_t r = 0; r < 8; ++r)
      for (size_t c = 0; c < 8; ++c)
        in[64 * m + 8 * r + c] = static_cast<uint16_t>(100 * m + 10 * r + c);
  std::vector<uint32_t> out(32 * 3);
  ASSERT_EQ(run(R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %r = and i32 %l, 15
  %o = mul i32 %r, 16
  %g = getelementptr i8, ptr addrspace(1) %in, i32 %o
  %s = getelementptr i8, ptr addrspace(3) @shared, i32 %o
  %v = load <4 x i32>, ptr addrspace(1) %g, align 2
  store <4 x i32> %v, ptr addrspace(3) %s
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %d = call { i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.b16.p3(ptr addrspace(3) %s)
  %t = call i32 @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3(ptr addrspace(3) %s)
  %d0 = extractvalue { i32, i32 } %d, 0
  %d1 = extractvalue { i32, i32 } %d, 1
  %at = mul i32 %l, 3
  %p0 = getelementptr i32, ptr addrspace(1) %out, i32 %at
  %p1 = getelementptr i32, ptr addrspace(1) %p0, i32 1
  %p2 = getelementptr i32, ptr addrspace(1) %p0, i32 2
  store i32 %d0, ptr addrspace(1) %p0
  store i32 %d1, ptr addrspace(1) %p1
  store i32 %t, ptr addrspace(1) %p2
  ret void
})",
                {{1, 1, 1}, {32, 1, 1}}, {in.data(), out.data()}),
            "");
  for (uint32_t lane = 0; lane < 32; ++lane) {
    uint32_t first = 10 * (lane / 4) + 2 * (lane % 4);
    EXPECT_EQ(out[3 * lane], first | (first + 1) << 16);
    EXPECT_EQ(out[3 * lane + 1], (100 + first) | (101 + first) << 16);
    uint32_t turned = 20 * (lane % 4) + lane / 4;
    EXPECT_EQ(out[3 * lane + 2], turned | (turned + 10) << 16);
  }
}

/// A kernel that loads `in` words a lane, runs `call` on %v0, %v1, ... and
/// stores its four results.
static std::string fragments(int in, const std::string &result,
                             const std::string &call,
                             const std::string &casts = "") {
  std::string text = R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %ri = mul i32 %l, )" +
                     std::to_string(in) + R"(
  %pi = getelementptr i32, ptr addrspace(1) %in, i32 %ri
  %ro = mul i32 %l, 4
  %po = getelementptr i32, ptr addrspace(1) %out, i32 %ro
)";
  for (int i = 0; i < in; ++i) {
    std::string n = std::to_string(i);
    text += "  %p" + n + " = getelementptr i32, ptr addrspace(1) %pi, i32 " +
            n + "\n  %v" + n + " = load i32, ptr addrspace(1) %p" + n + "\n";
  }
  text += casts + "  %d = call " + result + " " + call + "\n";
  for (int i = 0; i < 4; ++i) {
    std::string n = std::to_string(i);
    text += "  %d" + n + " = extractvalue " + result + " %d, " + n + "\n  %q" +
            n + " = getelementptr i32, ptr addrspace(1) %po, i32 " + n +
            "\n  store " + (result[2] == 'i' ? "i32" : "float") + " %d" + n +
            ", ptr addrspace(1) %q" + n + "\n";
  }
  return text + "  ret void\n}";
}

/// Figures of "Matrix Fragments for mma.m16n8k32" and ".m16n8k16 with integer
/// type": rows and columns of element i of lane's fragments.
TEST_F(EmulatorTest, IntegerMatrices) {
  std::mt19937 rng(1);
  for (int k : {16, 32}) {
    bool isSigned = k == 32; // A; B is signed in both
    std::vector<int> A(static_cast<size_t>(16 * k)),
        B(static_cast<size_t>(k * 8)), C(16 * 8);
    for (int &a : A)
      a = static_cast<int>(rng() % 256) - (isSigned ? 128 : 0);
    for (int &b : B)
      b = static_cast<int>(rng() % 256) - 128;
    for (int &c : C)
      c = static_cast<int>(rng() % 1000) - 500;
    int registersA = k / 8, registersB = k / 16,
        words = registersA + registersB + 4;
    std::vector<uint32_t> in(static_cast<size_t>(32 * words));
    std::vector<int32_t> out(32 * 4);
    for (int lane = 0; lane < 32; ++lane) {
      int group = lane >> 2, thread = lane % 4;
      uint32_t *word = &in[static_cast<size_t>(lane * words)];
      for (int i = 0; i < 4 * registersA; ++i) {
        int row, column;
        if (k == 16) {
          row = i < 4 ? group : group + 8;
          column = thread * 4 + (i & 3);
        } else {
          row = i < 4 || (8 <= i && i < 12) ? group : group + 8;
          column = i < 8 ? thread * 4 + (i & 3) : thread * 4 + (i & 3) + 16;
        }
        auto byte =
            static_cast<uint8_t>(A[static_cast<size_t>(row * k + column)]);
        word[i / 4] |= static_cast<uint32_t>(byte) << (8 * (i % 4));
      }
      for (int i = 0; i < 4 * registersB; ++i) {
        int row = i < 4 ? thread * 4 + (i & 3) : thread * 4 + (i & 3) + 16;
        auto byte =
            static_cast<uint8_t>(B[static_cast<size_t>(row * 8 + group)]);
        word[registersA + i / 4] |= static_cast<uint32_t>(byte)
                                    << (8 * (i % 4));
      }
      for (int i = 0; i < 4; ++i) {
        int row = i < 2 ? group : group + 8, column = thread * 2 + (i & 1);
        word[registersA + registersB + i] =
            static_cast<uint32_t>(C[static_cast<size_t>(row * 8 + column)]);
      }
    }
    std::string call = k == 16 ? "@llvm.nvvm.mma.m16n8k16.row.col.u8.s8("
                               : "@llvm.nvvm.mma.m16n8k32.row.col.s8(";
    for (int i = 0; i < words; ++i)
      call += (i ? ", i32 %v" : "i32 %v") + std::to_string(i);
    ASSERT_EQ(run(fragments(words, "{ i32, i32, i32, i32 }", call + ")"),
                  {{1, 1, 1}, {32, 1, 1}}, {in.data(), out.data()}),
              "");
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        int row = i < 2 ? lane / 4 : lane / 4 + 8,
            column = lane % 4 * 2 + (i & 1);
        int expected = C[static_cast<size_t>(row * 8 + column)];
        for (int j = 0; j < k; ++j)
          expected += A[static_cast<size_t>(row * k + j)] *
                      B[static_cast<size_t>(j * 8 + column)];
        EXPECT_EQ(out[static_cast<size_t>(4 * lane + i)], expected);
      }
  }
}

/// "Matrix Fragments for mma.m16n8k16 with floating point type".
TEST_F(EmulatorTest, FloatMatrices) {
  std::mt19937 rng(2);
  std::vector<float> A(16 * 16), B(16 * 8), C(16 * 8);
  for (auto *values : {&A, &B, &C})
    for (float &value : *values) // sums of products are exact in f32
      value = static_cast<float>(static_cast<int>(rng() % 65) - 32) / 8;
  std::vector<uint32_t> in(32 * 10);
  std::vector<float> out(32 * 4);
  auto half = [](float value) {
    return static_cast<uint32_t>(
        std::bit_cast<uint16_t>(static_cast<_Float16>(value)));
  };
  for (size_t lane = 0; lane < 32; ++lane) {
    size_t group = lane >> 2, thread = lane % 4;
    for (size_t i = 0; i < 8; ++i) {
      size_t row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
      size_t column = i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
      in[lane * 10 + i / 2] |= half(A[row * 16 + column]) << (16 * (i % 2));
    }
    for (size_t i = 0; i < 4; ++i) {
      size_t row = i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
      in[lane * 10 + 4 + i / 2] |= half(B[row * 8 + group]) << (16 * (i % 2));
    }
    for (size_t i = 0; i < 4; ++i)
      in[lane * 10 + 6 + i] = std::bit_cast<uint32_t>(
          C[(i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1)]);
  }
  std::string casts, call = "@llvm.nvvm.mma.m16n8k16.row.col.f32.f32(";
  for (int i = 0; i < 10; ++i) {
    std::string n = std::to_string(i), type = i < 6 ? "<2 x half>" : "float";
    casts += "  %c" + n + " = bitcast i32 %v" + n + " to " + type + "\n";
    call += (i ? ", " : "") + type + " %c" + n;
  }
  ASSERT_EQ(
      run(fragments(10, "{ float, float, float, float }", call + ")", casts),
          {{1, 1, 1}, {32, 1, 1}}, {in.data(), out.data()}),
      "");
  for (size_t lane = 0; lane < 32; ++lane)
    for (size_t i = 0; i < 4; ++i) {
      size_t row = i < 2 ? lane / 4 : lane / 4 + 8;
      size_t column = lane % 4 * 2 + (i & 1);
      float expected = C[row * 8 + column];
      for (size_t j = 0; j < 16; ++j)
        expected += A[row * 16 + j] * B[j * 8 + column];
      EXPECT_EQ(out[4 * lane + i], expected);
    }
}

TEST_F(EmulatorTest, BadInput) {
  EXPECT_EQ(run(R"(
declare i32 @llvm.nvvm.read.ptx.sreg.smid()
define ptx_kernel void @k() {
  %x = call i32 @llvm.nvvm.read.ptx.sreg.smid()
  ret void
})",
                {}, {}),
            "kernel or function 'k': the emulator does not know "
            "llvm.nvvm.read.ptx.sreg.smid");
  EXPECT_EQ(run(R"(
define ptx_kernel void @k() {
  call void asm sideeffect "trap;", ""()
  ret void
})",
                {}, {}),
            "kernel or function 'k' has PTX of its own: trap;");
  EXPECT_EQ(run(R"(
define ptx_kernel void @k() "nvvm.reqntid"="64,1,1" {
  ret void
})",
                {{1, 1, 1}, {32, 1, 1}}, {}),
            "k: blocks of 32x1x1 threads, the kernel was compiled for 64x1x1");
  std::string error;
  EXPECT_FALSE(Emulator::create("define void @k(", error));
  EXPECT_EQ(error.substr(0, 7), "line 1:");
  EXPECT_FALSE(Emulator::create("define void @k() { ret void }", error));
  EXPECT_EQ(error, "IR for NVPTX expected, not for ''");
}
