echo "shop: $(cat bread.txt), baked on $(cat machine.txt), $(cat stamp.txt)"
