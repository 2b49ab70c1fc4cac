/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two private copies in one program have two pools: each sees its own page. */
#include <stddef.h>

size_t copy_a(void);
size_t copy_b(void);

int main(void)
{
	return copy_a() != 1 || copy_b() != 1;
}
