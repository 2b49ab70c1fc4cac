# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# A mistake for bpf_stream.h that the selftests have to notice: what is read
# comes newest first.
s/backlog_head = bsi_list_reverse\(link\)/backlog_head = link/
