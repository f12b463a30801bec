; ModuleID = 'steps'
;
; Kernels of CUDADeviceTest.cpp, which says what they compute. From C by
; clang-22 --target=nvptx64-nvidia-cuda -Os -ffp-contract=off, less attributes.
target datalayout = "e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64"
target triple = "nvptx64-nvidia-cuda"

define ptx_kernel void @look_up(ptr addrspace(1) readonly %w, ptr addrspace(1) readonly %s, ptr addrspace(1) writeonly %a) {
entry:
  %ids = getelementptr inbounds nuw i8, ptr addrspace(1) %s, i64 32
  %0 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %idxprom = zext nneg i32 %0 to i64
  %arrayidx = getelementptr inbounds nuw i32, ptr addrspace(1) %ids, i64 %idxprom
  %1 = load i32, ptr addrspace(1) %arrayidx, align 4
  %mul = shl nsw i32 %1, 2
  %2 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %add = add nsw i32 %mul, %2
  %idxprom1 = sext i32 %add to i64
  %arrayidx2 = getelementptr inbounds float, ptr addrspace(1) %w, i64 %idxprom1
  %3 = load float, ptr addrspace(1) %arrayidx2, align 4
  %mul3 = shl nsw i32 %0, 2
  %add4 = add nuw nsw i32 %mul3, %2
  %idxprom5 = zext nneg i32 %add4 to i64
  %arrayidx6 = getelementptr inbounds nuw float, ptr addrspace(1) %a, i64 %idxprom5
  store float %3, ptr addrspace(1) %arrayidx6, align 4
  ret void
}

declare range(i32 0, 2147483647) i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()

declare range(i32 0, 1024) i32 @llvm.nvvm.read.ptx.sreg.tid.x()

define ptx_kernel void @look_up_twice(ptr addrspace(1) readonly %w, ptr addrspace(1) readonly %s, ptr addrspace(1) writeonly %a) {
entry:
  %ids = getelementptr inbounds nuw i8, ptr addrspace(1) %s, i64 32
  %0 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %idxprom = zext nneg i32 %0 to i64
  %arrayidx = getelementptr inbounds nuw i32, ptr addrspace(1) %ids, i64 %idxprom
  %1 = load i32, ptr addrspace(1) %arrayidx, align 4
  %mul = shl nsw i32 %1, 2
  %2 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %add = add nsw i32 %mul, %2
  %idxprom1 = sext i32 %add to i64
  %arrayidx2 = getelementptr inbounds float, ptr addrspace(1) %w, i64 %idxprom1
  %3 = load float, ptr addrspace(1) %arrayidx2, align 4
  %mul3 = fmul float %3, 2.000000e+00
  %mul4 = shl nsw i32 %0, 2
  %add5 = add nuw nsw i32 %mul4, %2
  %idxprom6 = zext nneg i32 %add5 to i64
  %arrayidx7 = getelementptr inbounds nuw float, ptr addrspace(1) %a, i64 %idxprom6
  store float %mul3, ptr addrspace(1) %arrayidx7, align 4
  ret void
}

define ptx_kernel void @remember(ptr addrspace(1) readonly %s, ptr addrspace(1) writeonly %kv) {
entry:
  %0 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %cmp = icmp eq i32 %0, 0
  br i1 %cmp, label %if.then, label %if.end

if.then:
  %ids = getelementptr inbounds nuw i8, ptr addrspace(1) %s, i64 32
  %1 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %idxprom = zext nneg i32 %1 to i64
  %arrayidx = getelementptr inbounds nuw i32, ptr addrspace(1) %ids, i64 %idxprom
  %2 = load i32, ptr addrspace(1) %arrayidx, align 4
  %conv = sitofp i32 %2 to float
  %3 = load i32, ptr addrspace(1) %s, align 4
  %add = add nsw i32 %3, %1
  %idxprom1 = sext i32 %add to i64
  %arrayidx2 = getelementptr inbounds float, ptr addrspace(1) %kv, i64 %idxprom1
  store float %conv, ptr addrspace(1) %arrayidx2, align 4
  br label %if.end

if.end:
  ret void
}

define ptx_kernel void @all(ptr addrspace(1) readonly %a, ptr addrspace(1) readonly %b, ptr addrspace(1) readonly %w, ptr addrspace(1) readonly %kv, ptr addrspace(1) readonly %table, ptr addrspace(1) readonly %s, ptr addrspace(1) writeonly %out) {
entry:
  %0 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %mul.i = shl nsw i32 %0, 2
  %1 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %mul1.i = shl nuw nsw i32 %1, 2
  %add11.i = add nuw nsw i32 %mul1.i, 64
  br label %for.body.i

for.cond18.preheader.i:
  %2 = load i32, ptr addrspace(1) %s, align 4
  %add19.i = add i32 %2, %0
  %cmp20.not53.i = icmp slt i32 %add19.i, 0
  br i1 %cmp20.not53.i, label %logit.exit, label %for.body22.i

for.body.i:
  %i.052.i = phi i32 [ 0, %entry ], [ %inc.i, %for.body.i ]
  %x.051.i = phi float [ 0.000000e+00, %entry ], [ %add17.i, %for.body.i ]
  %add.i = add nuw nsw i32 %i.052.i, %mul.i
  %idxprom.i = zext nneg i32 %add.i to i64
  %arrayidx.i = getelementptr inbounds nuw float, ptr addrspace(1) %a, i64 %idxprom.i
  %3 = load float, ptr addrspace(1) %arrayidx.i, align 4
  %add2.i = or disjoint i32 %i.052.i, %mul1.i
  %idxprom3.i = zext nneg i32 %add2.i to i64
  %arrayidx4.i = getelementptr inbounds nuw float, ptr addrspace(1) %w, i64 %idxprom3.i
  %4 = load float, ptr addrspace(1) %arrayidx4.i, align 4
  %mul5.i = fmul float %3, %4
  %arrayidx9.i = getelementptr inbounds nuw float, ptr addrspace(1) %b, i64 %idxprom.i
  %5 = load float, ptr addrspace(1) %arrayidx9.i, align 4
  %add12.i = add nuw nsw i32 %add11.i, %i.052.i
  %idxprom13.i = zext nneg i32 %add12.i to i64
  %arrayidx14.i = getelementptr inbounds nuw float, ptr addrspace(1) %w, i64 %idxprom13.i
  %6 = load float, ptr addrspace(1) %arrayidx14.i, align 4
  %mul15.i = fmul float %5, %6
  %add16.i = fadd float %mul5.i, %mul15.i
  %add17.i = fadd float %x.051.i, %add16.i
  %inc.i = add nuw nsw i32 %i.052.i, 1
  %exitcond.not.i = icmp eq i32 %inc.i, 4
  br i1 %exitcond.not.i, label %for.cond18.preheader.i, label %for.body.i

for.body22.i:
  %p.055.i = phi i32 [ %inc27.i, %for.body22.i ], [ 0, %for.cond18.preheader.i ]
  %x.154.i = phi float [ %add25.i, %for.body22.i ], [ %add17.i, %for.cond18.preheader.i ]
  %idxprom23.i = zext nneg i32 %p.055.i to i64
  %arrayidx24.i = getelementptr inbounds nuw float, ptr addrspace(1) %kv, i64 %idxprom23.i
  %7 = load float, ptr addrspace(1) %arrayidx24.i, align 4
  %add25.i = fadd float %x.154.i, %7
  %inc27.i = add nuw i32 %p.055.i, 1
  %exitcond57.not.i = icmp eq i32 %p.055.i, %add19.i
  br i1 %exitcond57.not.i, label %logit.exit, label %for.body22.i

logit.exit:
  %x.1.lcssa.i = phi float [ %add17.i, %for.cond18.preheader.i ], [ %add25.i, %for.body22.i ]
  %mul = shl nsw i32 %0, 3
  %idx.ext = zext nneg i32 %mul to i64
  %add.ptr = getelementptr inbounds nuw float, ptr addrspace(1) %out, i64 %idx.ext
  %mul31.i = shl nsw i32 %add19.i, 1
  %idxprom32.i = sext i32 %mul31.i to i64
  %arrayidx33.i = getelementptr inbounds float, ptr addrspace(1) %table, i64 %idxprom32.i
  %8 = load float, ptr addrspace(1) %arrayidx33.i, align 4
  %add34.i = fadd float %x.1.lcssa.i, %8
  %idxprom35.i = zext nneg i32 %1 to i64
  %arrayidx36.i = getelementptr inbounds nuw float, ptr addrspace(1) %add.ptr, i64 %idxprom35.i
  store float %add34.i, ptr addrspace(1) %arrayidx36.i, align 4
  ret void
}

define ptx_kernel void @last(ptr addrspace(1) readonly %a, ptr addrspace(1) readonly %b, ptr addrspace(1) readonly %w, ptr addrspace(1) readonly %kv, ptr addrspace(1) readonly %table, ptr addrspace(1) readonly %s, ptr addrspace(1) writeonly %out) {
entry:
  %count = getelementptr inbounds nuw i8, ptr addrspace(1) %s, i64 4
  %0 = load i32, ptr addrspace(1) %count, align 4
  %sub = add nsw i32 %0, -1
  %mul.i = shl nsw i32 %sub, 2
  %1 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %mul1.i = shl nuw nsw i32 %1, 2
  %add11.i = add nuw nsw i32 %mul1.i, 64
  br label %for.body.i

for.cond18.preheader.i:
  %2 = load i32, ptr addrspace(1) %s, align 4
  %add19.i = add i32 %2, %sub
  %cmp20.not53.i = icmp slt i32 %add19.i, 0
  br i1 %cmp20.not53.i, label %logit.exit, label %for.body22.i

for.body.i:
  %i.052.i = phi i32 [ 0, %entry ], [ %inc.i, %for.body.i ]
  %x.051.i = phi float [ 0.000000e+00, %entry ], [ %add17.i, %for.body.i ]
  %add.i = add nuw nsw i32 %i.052.i, %mul.i
  %idxprom.i = sext i32 %add.i to i64
  %arrayidx.i = getelementptr inbounds float, ptr addrspace(1) %a, i64 %idxprom.i
  %3 = load float, ptr addrspace(1) %arrayidx.i, align 4
  %add2.i = or disjoint i32 %i.052.i, %mul1.i
  %idxprom3.i = zext nneg i32 %add2.i to i64
  %arrayidx4.i = getelementptr inbounds nuw float, ptr addrspace(1) %w, i64 %idxprom3.i
  %4 = load float, ptr addrspace(1) %arrayidx4.i, align 4
  %mul5.i = fmul float %3, %4
  %arrayidx9.i = getelementptr inbounds float, ptr addrspace(1) %b, i64 %idxprom.i
  %5 = load float, ptr addrspace(1) %arrayidx9.i, align 4
  %add12.i = add nuw nsw i32 %add11.i, %i.052.i
  %idxprom13.i = zext nneg i32 %add12.i to i64
  %arrayidx14.i = getelementptr inbounds nuw float, ptr addrspace(1) %w, i64 %idxprom13.i
  %6 = load float, ptr addrspace(1) %arrayidx14.i, align 4
  %mul15.i = fmul float %5, %6
  %add16.i = fadd float %mul5.i, %mul15.i
  %add17.i = fadd float %x.051.i, %add16.i
  %inc.i = add nuw nsw i32 %i.052.i, 1
  %exitcond.not.i = icmp eq i32 %inc.i, 4
  br i1 %exitcond.not.i, label %for.cond18.preheader.i, label %for.body.i

for.body22.i:
  %p.055.i = phi i32 [ %inc27.i, %for.body22.i ], [ 0, %for.cond18.preheader.i ]
  %x.154.i = phi float [ %add25.i, %for.body22.i ], [ %add17.i, %for.cond18.preheader.i ]
  %idxprom23.i = zext nneg i32 %p.055.i to i64
  %arrayidx24.i = getelementptr inbounds nuw float, ptr addrspace(1) %kv, i64 %idxprom23.i
  %7 = load float, ptr addrspace(1) %arrayidx24.i, align 4
  %add25.i = fadd float %x.154.i, %7
  %inc27.i = add nuw i32 %p.055.i, 1
  %exitcond57.not.i = icmp eq i32 %p.055.i, %add19.i
  br i1 %exitcond57.not.i, label %logit.exit, label %for.body22.i

logit.exit:
  %x.1.lcssa.i = phi float [ %add17.i, %for.cond18.preheader.i ], [ %add25.i, %for.body22.i ]
  %mul31.i = shl nsw i32 %add19.i, 1
  %idxprom32.i = sext i32 %mul31.i to i64
  %arrayidx33.i = getelementptr inbounds float, ptr addrspace(1) %table, i64 %idxprom32.i
  %8 = load float, ptr addrspace(1) %arrayidx33.i, align 4
  %add34.i = fadd float %x.1.lcssa.i, %8
  %idxprom35.i = zext nneg i32 %1 to i64
  %arrayidx36.i = getelementptr inbounds nuw float, ptr addrspace(1) %out, i64 %idxprom35.i
  store float %add34.i, ptr addrspace(1) %arrayidx36.i, align 4
  ret void
}

define ptx_kernel void @twice(ptr addrspace(1) %x) {
entry:
  %0 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %mul = shl nsw i32 %0, 3
  %1 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %add = add nuw nsw i32 %mul, %1
  %idxprom = zext nneg i32 %add to i64
  %arrayidx = getelementptr inbounds nuw float, ptr addrspace(1) %x, i64 %idxprom
  %2 = load float, ptr addrspace(1) %arrayidx, align 4
  %mul1 = fmul float %2, 2.000000e+00
  store float %mul1, ptr addrspace(1) %arrayidx, align 4
  ret void
}

define ptx_kernel void @decode(ptr addrspace(1) readonly %w, ptr addrspace(1) writeonly %out) {
entry:
  %0 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %mul = shl nsw i32 %0, 8
  %1 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %add = add nuw nsw i32 %mul, %1
  %idxprom = zext nneg i32 %add to i64
  %arrayidx = getelementptr inbounds nuw float, ptr addrspace(1) %w, i64 %idxprom
  %2 = load float, ptr addrspace(1) %arrayidx, align 4
  %arrayidx4 = getelementptr inbounds nuw float, ptr addrspace(1) %out, i64 %idxprom
  store float %2, ptr addrspace(1) %arrayidx4, align 4
  ret void
}

