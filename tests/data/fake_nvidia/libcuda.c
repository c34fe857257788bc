/* A stand-in for the CUDA driver: the functions that autotune calls, with the signatures of cuda.h, for the hosts of
   libnvidia-ml.c. CUDA counts from the fastest GPU, and shows a single MIG slice. -DOLD is a driver before CUDA 11.4. */

#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100, INVALID_CONTEXT = 201 };

typedef int CUresult, CUdevice;
typedef struct { char bytes[16]; } CUuuid;

struct device { unsigned int first, last; int major, minor, multiprocessors, shared, l2; };

#define H200 9, 0, 132, 232448, 62914560
static struct device h200s[] = {{0xaaaaaaaa, 0, H200}, {0xaaaabbbb, 1, H200}, {0xcccccccc, 2, H200}};
static struct device slices[] = {{0x11111111, 0, 8, 0, 42, 166912, 20971520}};
static struct device mixed[] = {{0x00000200, 1, H200}, {0x00000004, 0, 7, 5, 40, 65536, 4194304}};

static int initialised;

static struct device *host(int *count) {
    const char *wanted = getenv("FAKE_HOST");
    if (wanted && !strcmp(wanted, "h200")) return *count = 3, h200s;
    if (wanted && !strcmp(wanted, "mig")) return *count = 1, slices;
    if (wanted && !strcmp(wanted, "mixed")) return *count = 2, mixed;
    return *count = 0, (struct device *)0;
}

CUresult cuInit(unsigned int flags) {
    int count;
    host(&count);
    initialised = 1;
    return flags ? INVALID_VALUE : count ? SUCCESS : NO_DEVICE;
}

CUresult cuDeviceGetCount(int *out) { host(out); return initialised ? SUCCESS : 3; }
CUresult cuDeviceGet(CUdevice *out, int ordinal) { *out = ordinal; return SUCCESS; }

static CUresult uuid(CUuuid *out, CUdevice ordinal) {
    int count;
    struct device *d = &host(&count)[ordinal];
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 4; i++) {
        out->bytes[i] = (char)(d->first >> (24 - 8 * i));
        out->bytes[12 + i] = (char)(d->last >> (24 - 8 * i));
    }
    return SUCCESS;
}

#ifdef OLD
CUresult cuDeviceGetUuid(CUuuid *out, CUdevice ordinal) { return uuid(out, ordinal); }
#else
CUresult cuDeviceGetUuid_v2(CUuuid *out, CUdevice ordinal) { return uuid(out, ordinal); }
#endif

CUresult cuDeviceGetAttribute(int *out, int attribute, CUdevice ordinal) {
    int count;
    struct device *d = &host(&count)[ordinal];
    switch (attribute) {
        case 1: *out = 1024; return SUCCESS;
        case 8: *out = 49152; return SUCCESS; /* without opting in */
        case 12: *out = 65536; return SUCCESS;
        case 16: *out = d->multiprocessors; return SUCCESS;
        case 38: *out = d->l2; return SUCCESS;
        case 75: *out = d->major; return SUCCESS;
        case 76: *out = d->minor; return SUCCESS;
        case 97: *out = d->shared; return SUCCESS;
        default: return INVALID_VALUE;
    }
}

/* A process that makes no context can be timed all the same: there is nothing to wait for and nothing to flush. */
CUresult cuCtxSynchronize(void) { return INVALID_CONTEXT; }
CUresult cuMemAlloc_v2(unsigned long long *out, size_t size) { return INVALID_CONTEXT; }
