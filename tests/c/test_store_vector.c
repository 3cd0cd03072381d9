/* Vector stores: each form that fault_store decodes, with random operands, against the CPU; what
 * this CPU has not, against what the manuals say.
 *
 *   test_store_vector [SEED [ROUNDS]]     ROUNDS a form; PMALLOC_TEST_SEED does for SEED
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__x86_64__)
int main(void) {
  puts("test_store_vector: skipped, stores are decoded on x86-64 only");
  return 0;
}
#else

#include "store_machine.h"

enum { SSE = 1, VEX = 2, EVEX = 4 };
enum { W_ANY = 2 };

enum {
  ALIGNED = 1, /* on its size */
  MASK = 2,    /* EVEX: may have a mask register */
  SIGNS = 4,   /* vvvv is a register of masks */
  IMM8 = 8,
  LANES = 16, /* needs more than 16 bytes of vector */
};

struct form {
  const char *name;
  unsigned map, opcode, prefix, encodings, w, traits;
  unsigned size;       /* bytes stored, 0: the whole vector */
  unsigned element;    /* bytes a bit of the mask stands for */
  const char *feature; /* what CPUs lack, NULL: none does that has the encoding */
};

static const struct form forms[] = {
    {"movups", 1, 0x11, 0, SSE | VEX, W_ANY, 0, 0, 4, NULL},
    {"movupd", 1, 0x11, 1, SSE | VEX, W_ANY, 0, 0, 8, NULL},
    {"movss", 1, 0x11, 2, SSE | VEX, W_ANY, 0, 4, 4, NULL},
    {"movsd", 1, 0x11, 3, SSE | VEX, W_ANY, 0, 8, 8, NULL},
    {"movlps", 1, 0x13, 0, SSE | VEX, W_ANY, 0, 8, 8, NULL},
    {"movlpd", 1, 0x13, 1, SSE | VEX, W_ANY, 0, 8, 8, NULL},
    {"movhps", 1, 0x17, 0, SSE | VEX, W_ANY, 0, 8, 8, NULL},
    {"movhpd", 1, 0x17, 1, SSE | VEX, W_ANY, 0, 8, 8, NULL},
    {"movaps", 1, 0x29, 0, SSE | VEX, W_ANY, ALIGNED, 0, 4, NULL},
    {"movapd", 1, 0x29, 1, SSE | VEX, W_ANY, ALIGNED, 0, 8, NULL},
    {"movntps", 1, 0x2b, 0, SSE | VEX, W_ANY, ALIGNED, 0, 4, NULL},
    {"movntpd", 1, 0x2b, 1, SSE | VEX, W_ANY, ALIGNED, 0, 8, NULL},
    {"movntss", 1, 0x2b, 2, SSE, W_ANY, 0, 4, 4, "sse4a"},
    {"movntsd", 1, 0x2b, 3, SSE, W_ANY, 0, 8, 8, "sse4a"},
    {"movd", 1, 0x7e, 1, SSE | VEX, 0, 0, 4, 4, NULL},
    {"movq", 1, 0x7e, 1, SSE | VEX, 1, 0, 8, 8, NULL},
    {"movdqa", 1, 0x7f, 1, SSE | VEX, W_ANY, ALIGNED, 0, 4, NULL},
    {"movdqu", 1, 0x7f, 2, SSE | VEX, W_ANY, 0, 0, 4, NULL},
    {"movq", 1, 0xd6, 1, SSE | VEX, W_ANY, 0, 8, 8, NULL},
    {"movntdq", 1, 0xe7, 1, SSE | VEX, W_ANY, ALIGNED, 0, 4, NULL},
    {"pextrb", 3, 0x14, 1, SSE | VEX, W_ANY, IMM8, 1, 1, "sse4.1"},
    {"pextrw", 3, 0x15, 1, SSE | VEX, W_ANY, IMM8, 2, 2, "sse4.1"},
    {"pextrd", 3, 0x16, 1, SSE | VEX, 0, IMM8, 4, 4, "sse4.1"},
    {"pextrq", 3, 0x16, 1, SSE | VEX, 1, IMM8, 8, 8, "sse4.1"},
    {"extractps", 3, 0x17, 1, SSE | VEX, W_ANY, IMM8, 4, 4, "sse4.1"},
    {"maskmovps", 2, 0x2e, 1, VEX, 0, SIGNS, 0, 4, NULL},
    {"maskmovpd", 2, 0x2f, 1, VEX, 0, SIGNS, 0, 8, NULL},
    {"pmaskmovd", 2, 0x8e, 1, VEX, 0, SIGNS, 0, 4, "avx2"},
    {"pmaskmovq", 2, 0x8e, 1, VEX, 1, SIGNS, 0, 8, "avx2"},
    {"extractf128", 3, 0x19, 1, VEX, 0, IMM8 | LANES, 16, 4, NULL},
    {"extracti128", 3, 0x39, 1, VEX, 0, IMM8 | LANES, 16, 4, "avx2"},
    {"movups", 1, 0x11, 0, EVEX, 0, MASK, 0, 4, NULL},
    {"movupd", 1, 0x11, 1, EVEX, 1, MASK, 0, 8, NULL},
    {"movss", 1, 0x11, 2, EVEX, 0, MASK, 4, 4, NULL},
    {"movsd", 1, 0x11, 3, EVEX, 1, MASK, 8, 8, NULL},
    {"movlps", 1, 0x13, 0, EVEX, 0, 0, 8, 8, NULL},
    {"movlpd", 1, 0x13, 1, EVEX, 1, 0, 8, 8, NULL},
    {"movhps", 1, 0x17, 0, EVEX, 0, 0, 8, 8, NULL},
    {"movhpd", 1, 0x17, 1, EVEX, 1, 0, 8, 8, NULL},
    {"movaps", 1, 0x29, 0, EVEX, 0, MASK | ALIGNED, 0, 4, NULL},
    {"movapd", 1, 0x29, 1, EVEX, 1, MASK | ALIGNED, 0, 8, NULL},
    {"movntps", 1, 0x2b, 0, EVEX, 0, ALIGNED, 0, 4, NULL},
    {"movntpd", 1, 0x2b, 1, EVEX, 1, ALIGNED, 0, 8, NULL},
    {"movd", 1, 0x7e, 1, EVEX, 0, 0, 4, 4, NULL},
    {"movq", 1, 0x7e, 1, EVEX, 1, 0, 8, 8, NULL},
    {"movdqa32", 1, 0x7f, 1, EVEX, 0, MASK | ALIGNED, 0, 4, NULL},
    {"movdqa64", 1, 0x7f, 1, EVEX, 1, MASK | ALIGNED, 0, 8, NULL},
    {"movdqu32", 1, 0x7f, 2, EVEX, 0, MASK, 0, 4, NULL},
    {"movdqu64", 1, 0x7f, 2, EVEX, 1, MASK, 0, 8, NULL},
    {"movdqu8", 1, 0x7f, 3, EVEX, 0, MASK, 0, 1, NULL},
    {"movdqu16", 1, 0x7f, 3, EVEX, 1, MASK, 0, 2, NULL},
    {"movq", 1, 0xd6, 1, EVEX, 1, 0, 8, 8, NULL},
    {"movntdq", 1, 0xe7, 1, EVEX, 0, ALIGNED, 0, 4, NULL},
    {"pextrb", 3, 0x14, 1, EVEX, W_ANY, IMM8, 1, 1, NULL},
    {"pextrw", 3, 0x15, 1, EVEX, W_ANY, IMM8, 2, 2, NULL},
    {"pextrd", 3, 0x16, 1, EVEX, 0, IMM8, 4, 4, NULL},
    {"pextrq", 3, 0x16, 1, EVEX, 1, IMM8, 8, 8, NULL},
    {"extractps", 3, 0x17, 1, EVEX, W_ANY, IMM8, 4, 4, NULL},
    {"extractf32x4", 3, 0x19, 1, EVEX, 0, MASK | IMM8 | LANES, 16, 4, NULL},
    {"extractf64x2", 3, 0x19, 1, EVEX, 1, MASK | IMM8 | LANES, 16, 8, NULL},
    {"extracti32x4", 3, 0x39, 1, EVEX, 0, MASK | IMM8 | LANES, 16, 4, NULL},
    {"extracti64x2", 3, 0x39, 1, EVEX, 1, MASK | IMM8 | LANES, 16, 8, NULL},
    {"extractf32x8", 3, 0x1b, 1, EVEX, 0, MASK | IMM8 | LANES, 32, 4, NULL},
    {"extractf64x4", 3, 0x1b, 1, EVEX, 1, MASK | IMM8 | LANES, 32, 8, NULL},
    {"extracti32x8", 3, 0x3b, 1, EVEX, 0, MASK | IMM8 | LANES, 32, 4, NULL},
    {"extracti64x4", 3, 0x3b, 1, EVEX, 1, MASK | IMM8 | LANES, 32, 8, NULL},
};

static int cpu_has(const struct form *form, unsigned encoding) {
  unsigned a, b, c, d, sse41, sse4a = 0, avx2 = 0, avx512 = 0;
  __cpuid(1, a, b, c, d);
  sse41 = c >> 19 & 1;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    avx2 = b >> 5 & 1;
    avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1); /* F DQ BW VL */
  }
  if (__get_cpuid(0x80000001, &a, &b, &c, &d))
    sse4a = c >> 6 & 1;
  if (encoding == EVEX)
    return (machine_vectors & 0xe0) && avx512;
  if (encoding == VEX && !(machine_vectors & 4))
    return 0;
  if (!form->feature)
    return 1;
  return strcmp(form->feature, "avx2") == 0    ? (int)avx2
         : strcmp(form->feature, "sse4a") == 0 ? (int)sse4a
                                               : (int)sse41;
}

/* ---- putting a store together ------------------------------------------------------------ */

struct store {
  unsigned encoding, w, vector; /* vector: its bytes */
  unsigned reg, second, mask;
  unsigned char immediate;
  size_t size; /* stored, a mask aside */
};

static struct store choose(const struct form *form, unsigned encoding) {
  struct store v;
  memset(&v, 0, sizeof v);
  v.encoding = encoding;
  v.w = form->w == W_ANY ? below(2) : form->w;
  v.vector = encoding == SSE ? 16 : 16U << below(encoding == EVEX ? 3 : 2);
  if (form->traits & LANES)
    v.vector = encoding == VEX || (form->size == 16 && below(2)) ? 32 : 64;
  else if (form->size)
    v.vector = 16;
  v.reg = below(encoding == EVEX ? 32 : 16);
  v.second = (form->traits & SIGNS) ? below(16) : 0;
  v.mask = (form->traits & MASK) && below(2) ? 1 + below(7) : 0;
  v.immediate = (unsigned char)chance();
  v.size = form->size ? form->size : v.vector;
  return v;
}

static unsigned inverted(unsigned rex, unsigned reg) {
  return (rex & X86_REX_X ? 0 : 0x40) | (rex & X86_REX_B ? 0 : 0x20) | (reg & 8 ? 0 : 0x80);
}

static size_t emit(unsigned char *code, const struct form *form, const struct store *v,
                   const struct operand *o) {
  static const unsigned char prefixes[] = {0, 0x66, 0xf3, 0xf2};
  size_t at = 0;
  unsigned rxb = inverted(o->rex, v->reg), long_vector = v->vector / 32, w = v->w ? 0x80 : 0;
  unsigned vvvv = (~v->second & 15) << 3;
  if (o->addr32)
    code[at++] = 0x67;
  if (v->encoding == SSE) {
    unsigned rex = o->rex | (v->reg & 8 ? X86_REX_R : 0) | (v->w ? X86_REX_W : 0);
    if (form->prefix)
      code[at++] = prefixes[form->prefix];
    if (rex || below(4) == 0)
      code[at++] = (unsigned char)(0x40 | rex);
    code[at++] = 0x0f;
    if (form->map > 1)
      code[at++] = form->map == 2 ? 0x38 : 0x3a;
  } else if (v->encoding == VEX && form->map == 1 && !w && !o->rex && below(2)) {
    code[at++] = 0xc5;
    code[at++] = (unsigned char)((rxb & 0x80) | vvvv | long_vector << 2 | form->prefix);
  } else if (v->encoding == VEX) {
    code[at++] = 0xc4;
    code[at++] = (unsigned char)(rxb | form->map);
    code[at++] = (unsigned char)(w | vvvv | long_vector << 2 | form->prefix);
  } else {
    code[at++] = 0x62;
    code[at++] = (unsigned char)(rxb | (v->reg & 16 ? 0 : 0x10) | form->map);
    code[at++] = (unsigned char)(w | vvvv | 4 | form->prefix);
    code[at++] = (unsigned char)(long_vector << 5 | 8 | v->mask);
  }
  code[at++] = (unsigned char)form->opcode;
  at = emit_operand(code, at, o, !!(form->traits & IMM8));
  if (form->traits & IMM8)
    code[at++] = v->immediate;
  return at;
}

static void run_form(const struct form *form, unsigned encoding) {
  unsigned char code[32];
  char name[32], what[64];
  unsigned first, last;
  randomise();
  struct store v = choose(form, encoding);
  uintptr_t target = choose_target(v.size, (form->traits & ALIGNED) ? v.size : 1, &first, &last);
  struct operand o = choose_operand(target, v.reg, 0, encoding == EVEX ? (unsigned)v.size : 1);
  size_t at = emit(code, form, &v, &o);
  snprintf(name, sizeof name, "%s%s", encoding == SSE ? "" : "v", form->name);
  snprintf(what, sizeof what, "%s, %zu bytes%s", name, v.size, encoding == EVEX ? ", EVEX" : "");
  int masked = v.mask || (form->traits & SIGNS);
  trial.name = name;
  trial.address = target;
  trial.size = masked ? 0 : v.size;
  place(code, at);
  run_twice(first, last, 0);
  if ((!masked && trial.faults != 1) || trial.faults > 1 || trial.refusals)
    wrong("%d faults, %d refusals", trial.faults, trial.refusals);
  judge(what);
}

/* ---- AVX-512 on any CPU ------------------------------------------------------------------ */

/* Where its components lie on one that has it. */
static const uint32_t layout[8] = {0, 0, 576, 0, 0, 832, 896, 1408};
enum { AREA = 1408 + 1024 };

static void signal_frame(ucontext_t *uc, unsigned char *area, uint64_t bv) {
  struct _fpx_sw_bytes software;
  memset(uc, 0, sizeof *uc);
  for (size_t i = 0; i < AREA; i += 8) {
    uint64_t v = chance();
    memcpy(area + i, &v, 8);
  }
  memset(&software, 0, sizeof software);
  software.magic1 = FP_XSTATE_MAGIC1;
  software.xstate_size = AREA;
  memcpy(area + 464, &software, sizeof software);
  memcpy(area + 512, &bv, 8);
  uc->uc_mcontext.fpregs = (void *)area;
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)code_page;
  uc->uc_mcontext.gregs[REG_EFL] = 0x202;
  for (unsigned i = 0; i < 16; i++)
    pmalloc_x86_set_register(uc, i, machine_in.gpr[i]);
}

/* The register's 64 bytes, by the manual. */
static void manual_register(const unsigned char *area, uint64_t bv, unsigned number,
                            unsigned char *out) {
  memset(out, 0, 64);
  if (number >= 16) {
    if (bv & 0x80)
      memcpy(out, area + 1408 + 64 * (number - 16), 64);
    return;
  }
  if (bv & 2)
    memcpy(out, area + 160 + 16 * number, 16);
  if (bv & 4)
    memcpy(out + 16, area + 576 + 16 * number, 16);
  if (bv & 0x40)
    memcpy(out + 32, area + 896 + 32 * number, 32);
}

/* Where in its register the store begins. */
static size_t part(const struct form *form, const struct store *v) {
  if (form->opcode == 0x17 && form->map == 1)
    return 8;
  if (!(form->traits & IMM8))
    return 0;
  size_t lanes = ((form->traits & LANES) ? v->vector : 16) / v->size;
  return v->immediate % lanes * v->size;
}

static void run_foretold(const struct form *form) {
  static unsigned char area[AREA] __attribute__((aligned(64)));
  unsigned char code[32], bytes[64], expected[VIEW];
  char name[32];
  unsigned first, last;
  uint64_t bv = below(3) ? 0xe7 : chance() & 0xe7, mask = UINT64_MAX;
  ucontext_t uc;
  struct pmalloc_store s;
  randomise();
  struct store v = choose(form, EVEX);
  uintptr_t target = choose_target(v.size, (form->traits & ALIGNED) ? v.size : 1, &first, &last);
  struct operand o = choose_operand(target, v.reg, 0, (unsigned)v.size);
  size_t at = emit(code, form, &v, &o);
  snprintf(name, sizeof name, "v%s", form->name);
  place(code, at);
  signal_frame(&uc, area, bv);
  if (v.mask) {
    mask = 0;
    if (bv & 0x20)
      memcpy(&mask, area + 832 + 8 * v.mask, 8);
  }
  manual_register(area, bv, v.reg, bytes);
  memcpy(alias, before, VIEW);
  memcpy(expected, before, VIEW);
  int any = 0;
  for (size_t i = 0; i < v.size; i++)
    if (mask >> (i / form->element) & 1) {
      expected[target - (uintptr_t)view + i] = bytes[part(form, &v) + i];
      any = 1;
    }
  trial.wrong[0] = 0;
  int decoded = pmalloc_store_decode(&uc, target + below(v.size), &s);
  if (decoded != any)
    wrong("decoded: %d", decoded);
  if (decoded && strcmp(s.name, name) != 0)
    wrong("decoded as %s", s.name);
  if (decoded && !v.mask && (s.address != target || s.size != v.size))
    wrong("stores %zu bytes at %#lx", s.size, (long)s.address);
  if (decoded && memcmp(s.bytes, expected + (s.address - (uintptr_t)view), s.size) != 0)
    wrong("the bytes foretold are not those of the manual");
  if (decoded && pmalloc_store_perform(&s, &uc, write_alias) != 0)
    wrong("not performed");
  if (memcmp(alias, expected, VIEW) != 0)
    wrong("memory");
  if (decoded && uc.uc_mcontext.gregs[REG_RIP] != (greg_t)((uintptr_t)code_page + at))
    wrong("the pc");
  judge(name);
}

/* ---- frames without ----------------------------------------------------------------------- */

/* No XSAVE area, no vector registers at all, no upper halves. */
static void check_frames(void) {
  static unsigned char area[AREA] __attribute__((aligned(64)));
  static const unsigned char xmm[] = {0x0f, 0x11, 0x08};       /* movups %xmm1, (%rax) */
  static const unsigned char ymm[] = {0xc5, 0xfc, 0x11, 0x08}; /* vmovups %ymm1, (%rax) */
  struct pmalloc_store s;
  ucontext_t uc;
  randomise();
  machine_in.gpr[X86_RAX] = (uintptr_t)view;
  signal_frame(&uc, area, 7);
  memset(area + 464, 0, 4); /* no magic: FXSAVE */
  place(xmm, sizeof xmm);
  CHECK(pmalloc_store_decode(&uc, (uintptr_t)view, &s));
  CHECK(memcmp(s.bytes, area + 160 + 16, 16) == 0);
  place(ymm, sizeof ymm);
  CHECK(!pmalloc_store_decode(&uc, (uintptr_t)view, &s));
  signal_frame(&uc, area, 7);
  uint32_t size = 576; /* of the whole area: AVX is not in it */
  memcpy(area + 464 + offsetof(struct _fpx_sw_bytes, xstate_size), &size, 4);
  CHECK(!pmalloc_store_decode(&uc, (uintptr_t)view, &s));
  uc.uc_mcontext.fpregs = NULL;
  CHECK(!pmalloc_store_decode(&uc, (uintptr_t)view, &s));
}

/* Encodings that are no store, or one that is not known. */
static void check_refused(void) {
  static unsigned char area[AREA] __attribute__((aligned(64)));
  static const unsigned char refused[][8] = {
      {0x0f, 0x10, 0x00},                         /* movups: a load */
      {0x0f, 0x11, 0xc8},                         /* to a register */
      {0xf0, 0x0f, 0x11, 0x00},                   /* lock: no instruction */
      {0xf3, 0x0f, 0x7e, 0x00},                   /* movq: a load */
      {0x0f, 0x29, 0x40, 0x01},                   /* movaps, misaligned */
      {0xc5, 0xf4, 0x11, 0x00},                   /* vvvv in use: no instruction */
      {0x48, 0xc5, 0xfc, 0x11, 0x00},             /* REX and VEX: no instruction */
      {0x66, 0xc5, 0xfc, 0x11, 0x00},             /* 66 and VEX: no instruction */
      {0xc5, 0xfc, 0x17, 0x00},                   /* vmovhps of 32 bytes: no instruction */
      {0xc4, 0xe3, 0x79, 0x19, 0x00, 0x00},       /* vextractf128 of 16: no instruction */
      {0xc5, 0xf8, 0xae, 0x18},                   /* vstmxcsr */
      {0x62, 0xf2, 0x7d, 0x48, 0x8a, 0x00},       /* vcompressps */
      {0x62, 0xf2, 0x7e, 0x48, 0x31, 0x00},       /* vpmovdb */
      {0x62, 0xf2, 0x7d, 0x49, 0xa2, 0x04, 0x08}, /* vscatterdps */
      {0x62, 0xf1, 0x7c, 0xc9, 0x11, 0x00},       /* zeroing: no instruction */
      {0x62, 0xf1, 0x7c, 0x58, 0x11, 0x00},       /* broadcast: no instruction */
      {0x62, 0xf1, 0x7c, 0x68, 0x11, 0x00},       /* 128 bytes: no instruction */
      {0x62, 0xf1, 0xfc, 0x48, 0x11, 0x00},       /* vmovups with W: no instruction */
  };
  struct pmalloc_store s;
  ucontext_t uc;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    machine_in.gpr[X86_RAX] = (uintptr_t)view;
    signal_frame(&uc, area, 0xe7);
    place(refused[i], sizeof refused[i]);
    if (pmalloc_store_decode(&uc, (uintptr_t)view, &s))
      fprintf(stderr, "entry %zu was decoded as %s\n", i, s.name);
    CHECK(!pmalloc_store_decode(&uc, (uintptr_t)view, &s));
  }
}

int main(int argc, char **argv) {
  static const char *const called[] = {[SSE] = "SSE", [VEX] = "VEX", [EVEX] = "EVEX"};
  unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : EMULATED ? 12 : 40, ran = 0;
  size_t n = sizeof forms / sizeof forms[0];
  start_machine(argc, argv);
  if (!machine_vectors) {
    puts("test_store_vector: skipped, this CPU or kernel has no XSAVE");
    return 0;
  }
  pmalloc_store_prepare();
  for (unsigned encoding = SSE; encoding <= EVEX; encoding *= 2) {
    unsigned skipped = 0;
    for (size_t i = 0; i < n; i++) {
      if (!(forms[i].encodings & encoding))
        continue;
      ran++;
      if (!cpu_has(&forms[i], encoding)) {
        ran--, skipped++;
        continue;
      }
      for (unsigned round = 0; round < rounds; round++)
        run_form(&forms[i], encoding);
    }
    if (skipped)
      printf("test_store_vector: %u %s forms not run, this CPU does not have them\n", skipped,
             called[encoding]);
  }
  printf("test_store_vector: seed %#llx, %u forms, %u rounds each\n", (unsigned long long)seed, ran,
         rounds);
  mprotect(view, VIEW, PROT_READ | PROT_WRITE);
  pmalloc_store_layout(layout);
  for (size_t i = 0; i < n; i++)
    for (unsigned round = 0; forms[i].encodings == EVEX && round < rounds; round++)
      run_foretold(&forms[i]);
  check_frames();
  check_refused();
  return finish_machine("test_store_vector");
}
#endif
