locals {
  bucket = coalesce(var.bucket_name, "${var.name}-contexts-${local.account}-${var.region}")

  # Every object is contexts/sha256/DIGEST.tar.gz; the server accepts no other key.
  context_prefix = "contexts/"
}

resource "aws_s3_bucket" "contexts" {
  # checkov:skip=CKV_AWS_18: Access logs need a bucket of their own; add them if your policies require it.
  # checkov:skip=CKV_AWS_21: A context is named by its content and deleted after a week: there are no older versions of it.
  # checkov:skip=CKV_AWS_144: A client can upload a context again: no copy in another region is needed.
  # checkov:skip=CKV_AWS_145: Encrypted with S3's key. Your own key needs kms:Decrypt in the task role, and kms:Decrypt and kms:GenerateDataKey in the client's.
  # checkov:skip=CKV2_AWS_62: Clients report their uploads to the server: no events are needed.
  bucket        = local.bucket
  force_destroy = var.bucket_force_destroy
}

resource "aws_s3_bucket_public_access_block" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  rule {
    id     = "contexts-expire"
    status = "Enabled"

    filter {
      prefix = local.context_prefix
    }

    expiration {
      days = var.context_days
    }
  }

  # Uploads of cancelled clients: their parts are invisible, and cost money until they are aborted.
  rule {
    id     = "uploads-abort"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# Access needs TLS, whatever the permissions.
resource "aws_s3_bucket_policy" "contexts" {
  bucket = aws_s3_bucket.contexts.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::${local.bucket}", "arn:aws:s3:::${local.bucket}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.contexts]
}
