"""arch/arm64/kvm/nested.c, as far as changes of the host's memory reach it: invalidation.

What stands in the shadow stage 2 and in the VNCR mappings is derived, and may go at any time.
"""

from typing import Final

from emu.abi import PAGE_SIZE
from emu.kvm.kvm_host import KvmHost
from emu.kvm.nested_state import Nested

_EVERYWHERE: Final = 1 << 64


class NestedMmu(KvmHost):
    """Unmap, write-protect, forget."""

    def kvm_nested_s2_unmap(self, nested: Nested) -> None:
        """Empty the shadow, whatever changed: nobody knows where in it a page of L1's is.

        So L2's own code goes too.
        """
        shadow = nested.shadow
        for ipa in shadow.mapped(0, _EVERYWHERE):
            shadow.unmap(ipa)

    def kvm_nested_s2_wp(self, nested: Nested) -> None:
        """Write-protect the shadow, as the canonical stage 2 of some slot is, and forget every VNCR
        page.
        """
        for ipa in nested.shadow.mapped(0, _EVERYWHERE):
            nested.shadow.write_protect(ipa)
        self.kvm_invalidate_vncr_ipa(nested, 0, _EVERYWHERE)

    def kvm_invalidate_vncr_ipa(self, nested: Nested, start: int, end: int) -> None:
        """Forget every VNCR page that lies in [start, end) of L1's memory."""
        for tlb in nested.vncr_tlbs:
            if tlb.page is not None and start < tlb.page + PAGE_SIZE and tlb.page < end:
                tlb.page = None
