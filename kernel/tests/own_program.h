/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A program without code, to print to its streams, and a user's memory, to read
 * them into as bpf(2) does. kernel/own.sh puts this file beside the tests.
 */
#ifndef OWN_PROGRAM_H
#define OWN_PROGRAM_H

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/mm.h>
#include <linux/mman.h>

/* No header of the kernel declares the kfunc. */
int bpf_stream_vprintk(int stream_id, const char *fmt__str, const void *args, u32 len__sz,
		       struct bpf_prog_aux *aux);

struct own_program {
	struct bpf_prog *prog;
	void __user *buffer;	/* of the current process */
	size_t size;
};

/* Returns 0 or a negative errno; then there is nothing to free. */
static int own_program_make(struct own_program *own, size_t size)
{
	unsigned long where = vm_mmap(NULL, 0, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, 0);

	if (IS_ERR_VALUE(where))
		return (int)where;
	*own = (struct own_program){ bpf_prog_alloc(PAGE_SIZE, 0), (void __user *)where, size };
	if (own->prog)
		return 0;
	vm_munmap(where, size);
	return -ENOMEM;
}

static void own_program_free(const struct own_program *own)
{
	bpf_prog_stream_free(own->prog);
	__bpf_prog_free(own->prog);
	vm_munmap((unsigned long)own->buffer, own->size);
}

#endif
